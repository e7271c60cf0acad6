/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Debian's gcc, behind musl-gcc, brings a libgcc_eh.a that was built for glibc 2.35, and asks that where an address
 * belongs. The libgcc of a system with musl asks dl_iterate_phdr, as is done here. */
#define _GNU_SOURCE
#include <link.h>
#include <stddef.h>
#include <stdint.h>

struct found { /* struct dl_find_object of glibc's dlfcn.h */
    unsigned long long flags;
    uintptr_t start, end;
    void *link_map;
    void *eh_frame;
    unsigned long long reserved[7];
};

int _dl_find_object(uintptr_t address, struct found *found);

static int is_in(struct dl_phdr_info *object, size_t size, void *data)
{
    struct found *found = data;
    int inside = 0;

    (void)size;
    found->eh_frame = NULL;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const uintptr_t start = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;

        if (object->dlpi_phdr[i].p_type == PT_LOAD && found->start - start < object->dlpi_phdr[i].p_memsz)
            inside = 1;
        if (object->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            found->eh_frame = (void *)start;
    }
    return inside && found->eh_frame != NULL;
}

int _dl_find_object(uintptr_t address, struct found *found)
{
    *found = (struct found){.start = address};
    return dl_iterate_phdr(is_in, found) ? 0 : -1;
}
