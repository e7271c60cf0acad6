/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "filter.h"

#include <endian.h>
#include <linux/audit.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the audit architecture is not known here"
#endif

static void add(struct filter *filter, unsigned code, size_t k, unsigned char if_not)
{
    filter->code[filter->length++] = (struct sock_filter){.code = (uint16_t)code, .jf = if_not, .k = (uint32_t)k};
}

static void load(struct filter *filter, size_t offset)
{
    add(filter, BPF_LD | BPF_W | BPF_ABS, offset, 0);
}

void filter_begin(struct filter *filter)
{
    filter->length = 0;
    load(filter, offsetof(struct seccomp_data, arch));
    filter_if_equal(filter, ARCHITECTURE, 1);
    add(filter, BPF_JMP | BPF_JA, 1, 0);
    filter_answer(filter, SECCOMP_RET_KILL_PROCESS);
}

void filter_load_number(struct filter *filter)
{
    load(filter, offsetof(struct seccomp_data, nr));
}

void filter_load_argument(struct filter *filter, unsigned n, bool high_half)
{
    load(filter, offsetof(struct seccomp_data, args) + 8 * n + (high_half != (__BYTE_ORDER == __BIG_ENDIAN) ? 4 : 0));
}

void filter_if_equal(struct filter *filter, unsigned value, unsigned char skip)
{
    add(filter, BPF_JMP | BPF_JEQ | BPF_K, value, skip);
}

void filter_if_any(struct filter *filter, unsigned bits, unsigned char skip)
{
    add(filter, BPF_JMP | BPF_JSET | BPF_K, bits, skip);
}

void filter_answer(struct filter *filter, unsigned action)
{
    add(filter, BPF_RET | BPF_K, action, 0);
}

int filter_install(const struct filter *filter, unsigned flags)
{
    struct sock_fprog program = {.len = filter->length, .filter = (struct sock_filter *)(uintptr_t)filter->code};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

int filter_refuse(unsigned call, unsigned code)
{
    struct filter filter;
    filter_begin(&filter);
    filter_load_number(&filter);
    filter_if_equal(&filter, call, 1);
    filter_answer(&filter, SECCOMP_RET_ERRNO | code);
    filter_answer(&filter, SECCOMP_RET_ALLOW);
    return filter_install(&filter, 0);
}
