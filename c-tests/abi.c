/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The binary interface of librfs.h, on every kind of machine: it compiles, or something changed that a program compiled
 * before relies on. Written by scripts/abi.py: `make abi`. */
#include <librfs.h>

#if UINTPTR_MAX == UINT64_MAX
#define BY_MACHINE(lp64, ilp32, i386) (lp64)
#elif defined(__i386__)
#define BY_MACHINE(lp64, ilp32, i386) (i386)
#else
#define BY_MACHINE(lp64, ilp32, i386) (ilp32)
#endif
#define IS(pointer, type) _Generic((pointer), type: 1, default: 0)
#define CONSTANT(name, value) _Static_assert((name) == (value), #name)
#define TYPE(name, type) _Static_assert(IS((name *)0, type *), #name)
#define SIZE(name, lp64, ilp32, i386) _Static_assert(sizeof(name) == BY_MACHINE(lp64, ilp32, i386), #name)
#define FIELD(name, field, type, lp64, ilp32, i386) \
    _Static_assert(offsetof(name, field) == BY_MACHINE(lp64, ilp32, i386), #name "." #field " has moved"); \
    _Static_assert(IS(&((name *)0)->field, type), #name "." #field " has another type")
#define FUNCTION(name, type) _Static_assert(IS(&name, type), #name)
CONSTANT(RFS_STAGE_CONFIG, 1);
CONSTANT(RFS_STAGE_PLAN, 2);
CONSTANT(RFS_STAGE_ROOT, 3);
CONSTANT(RFS_STAGE_MOUNTS, 4);
CONSTANT(RFS_STAGE_DEVICES, 5);
CONSTANT(RFS_STAGE_HOOKS, 6);
CONSTANT(RFS_STAGE_PIVOT, 7);
CONSTANT(RFS_STAGE_PROCESS, 8);
CONSTANT(RFS_STAGE_FINALIZE, 9);
CONSTANT(RFS_STAGE_READONLY_PATHS, 10);
CONSTANT(RFS_STAGE_MASKED_PATHS, 11);
CONSTANT(RFS_STAGE_CONSOLE, 12);
CONSTANT(RFS_STAGE_MOUNTFD, 13);
CONSTANT(RFS_OBJECT_NONE, 0);
CONSTANT(RFS_OBJECT_MOUNT, 1);
CONSTANT(RFS_OBJECT_DEVICE, 2);
CONSTANT(RFS_OBJECT_MASKED_PATH, 3);
CONSTANT(RFS_OBJECT_READONLY_PATH, 4);
CONSTANT(RFS_OBJECT_HOOK, 5);
CONSTANT(RFS_MOUNT_SOURCE_FD, 1);
CONSTANT(RFS_MOUNT_FROM_HOST, 2);
CONSTANT(RFS_MOUNT_KEEP_RESTRICTIONS, 4);
CONSTANT(RFS_MOUNT_USERNS_FD, 8);
CONSTANT(RFS_MOUNT_KEEP_FLAGS, 16);
CONSTANT(RFS_NO_MOUNT, (UINT64_MAX - 1));
CONSTANT(RFS_FILE_MODE, 1);
CONSTANT(RFS_FILE_OWNER, 2);
CONSTANT(RFS_FILE_CONTENT_FD, 4);
CONSTANT(RFS_DEVICE_FILE_MODE, 1);
CONSTANT(RFS_HOOKS_PRESTART, 1);
CONSTANT(RFS_HOOKS_CREATE_RUNTIME, 2);
CONSTANT(RFS_HOOKS_CREATE_CONTAINER, 3);
CONSTANT(RFS_HOOKS_START_CONTAINER, 4);
CONSTANT(RFS_HOOKS_POSTSTART, 5);
CONSTANT(RFS_HOOKS_POSTSTOP, 6);
CONSTANT(RFS_OPTION_READONLY_ROOTFS, 1);
CONSTANT(RFS_OPTION_ROOTFS_FD, 2);
CONSTANT(RFS_OPTION_UMASK, 4);
CONSTANT(RFS_OPTION_NO_PIVOT, 8);
CONSTANT(RFS_OPTION_CHROOT, 16);
CONSTANT(RFS_OPTION_PLANNED_INSIDE, 32);
CONSTANT(RFS_OPTION_USER_NAMESPACE, 64);
CONSTANT(RFS_OPTION_CGROUP_NAMESPACE, 128);
CONSTANT(RFS_OPTION_ROOTLESS, 256);
CONSTANT(RFS_OPTION_ROOTLESS_CGROUPS, 512);
CONSTANT(RFS_OPTION_NO_DEFAULT_DEVICES, 1024);
CONSTANT(RFS_OPTION_SEPARATE_MASKS, 2048);
CONSTANT(RFS_OPTION_CLASSIC_MOUNT, 4096);
CONSTANT(RFS_OPTION_KEEP_UMASK, 8192);
CONSTANT(RFS_OPTION_ROOTFS_LATER, 16384);
CONSTANT(RFS_OPTION_OWN_NAMESPACE, 32768);
CONSTANT(RFS_OPTION_HOST_ROOT, 65536);
CONSTANT(RFS_OPTION_SYSFS_FROM_HOST, 131072);
CONSTANT(RFS_OPTION_PTMX_BIND, 262144);
CONSTANT(RFS_OPTION_KEEP_LOCKED, 524288);
CONSTANT(RFS_OPTION_TMPFS_ROOTFS, 1048576);
CONSTANT(RFS_OPTION_MOUNTS_BELOW_PROC, 2097152);
CONSTANT(RFS_REQUEST_RECURSIVE, 1);
CONSTANT(RFS_REQUEST_IDMAP, 2);
CONSTANT(RFS_REQUEST_IDMAP_RECURSIVE, 4);
CONSTANT(RFS_POINT_ROOT_READY, 257);
CONSTANT(RFS_POINT_MOUNTED, 258);
CONSTANT(RFS_POINT_MOUNTS_READY, 259);
CONSTANT(RFS_POINT_CREATE_CONTAINER, 260);
CONSTANT(RFS_POINT_BEFORE_SWITCH, 261);
CONSTANT(RFS_POINT_AFTER_SWITCH, 262);
CONSTANT(RFS_LOG_WARNING, 1);
CONSTANT(RFS_LOG_DEBUG, 2);
CONSTANT(RFS_MOUNTFD_ROOTFS, UINT64_MAX);
CONSTANT(RFS_MOUNTFD_NEVER, 0);
CONSTANT(RFS_MOUNTFD_POSSIBLY, 1);
CONSTANT(RFS_MOUNTFD_CERTAINLY, 2);
FUNCTION(rfs_version, const char * (*)(void));
TYPE(rfs_stage, uint32_t);
TYPE(rfs_object, uint32_t);
SIZE(rfs_error, 2368, 2368, 2368);
FIELD(rfs_error, size, uint64_t *, 0, 0, 0);
FIELD(rfs_error, code, int32_t *, 8, 8, 8);
FIELD(rfs_error, stage, rfs_stage *, 12, 12, 12);
FIELD(rfs_error, object, rfs_object *, 16, 16, 16);
FIELD(rfs_error, reserved, uint32_t *, 20, 20, 20);
FIELD(rfs_error, index, int64_t *, 24, 24, 24);
FIELD(rfs_error, operation, char (*)[32], 32, 32, 32);
FIELD(rfs_error, path, char (*)[256], 64, 64, 64);
FIELD(rfs_error, message, char (*)[1024], 320, 320, 320);
FIELD(rfs_error, detail, char (*)[1024], 1344, 1344, 1344);
SIZE(rfs_id_mapping, 12, 12, 12);
FIELD(rfs_id_mapping, container_id, uint32_t *, 0, 0, 0);
FIELD(rfs_id_mapping, host_id, uint32_t *, 4, 4, 4);
FIELD(rfs_id_mapping, count, uint32_t *, 8, 8, 8);
SIZE(rfs_mount, 96, 64, 60);
FIELD(rfs_mount, size, uint64_t *, 0, 0, 0);
FIELD(rfs_mount, flags, uint64_t *, 8, 8, 8);
FIELD(rfs_mount, destination, const char **, 16, 16, 16);
FIELD(rfs_mount, type, const char **, 24, 20, 20);
FIELD(rfs_mount, source, const char **, 32, 24, 24);
FIELD(rfs_mount, options, const char *const **, 40, 28, 28);
FIELD(rfs_mount, n_options, size_t *, 48, 32, 32);
FIELD(rfs_mount, uid_mappings, const struct rfs_id_mapping **, 56, 36, 36);
FIELD(rfs_mount, n_uid_mappings, size_t *, 64, 40, 40);
FIELD(rfs_mount, gid_mappings, const struct rfs_id_mapping **, 72, 44, 44);
FIELD(rfs_mount, n_gid_mappings, size_t *, 80, 48, 48);
FIELD(rfs_mount, source_fd, int *, 88, 52, 52);
FIELD(rfs_mount, userns_fd, int *, 92, 56, 56);
SIZE(rfs_file, 72, 56, 52);
FIELD(rfs_file, size, uint64_t *, 0, 0, 0);
FIELD(rfs_file, flags, uint64_t *, 8, 8, 8);
FIELD(rfs_file, path, const char **, 16, 16, 16);
FIELD(rfs_file, type, uint32_t *, 24, 20, 20);
FIELD(rfs_file, mode, uint32_t *, 28, 24, 24);
FIELD(rfs_file, uid, uint32_t *, 32, 28, 28);
FIELD(rfs_file, gid, uint32_t *, 36, 32, 32);
FIELD(rfs_file, target, const char **, 40, 36, 36);
FIELD(rfs_file, content, const void **, 48, 40, 40);
FIELD(rfs_file, content_len, size_t *, 56, 44, 44);
FIELD(rfs_file, content_fd, int *, 64, 48, 48);
SIZE(rfs_device, 48, 48, 44);
FIELD(rfs_device, size, uint64_t *, 0, 0, 0);
FIELD(rfs_device, flags, uint64_t *, 8, 8, 8);
FIELD(rfs_device, path, const char **, 16, 16, 16);
FIELD(rfs_device, type, uint32_t *, 24, 20, 20);
FIELD(rfs_device, major, uint32_t *, 28, 24, 24);
FIELD(rfs_device, minor, uint32_t *, 32, 28, 28);
FIELD(rfs_device, file_mode, uint32_t *, 36, 32, 32);
FIELD(rfs_device, uid, uint32_t *, 40, 36, 36);
FIELD(rfs_device, gid, uint32_t *, 44, 40, 40);
TYPE(rfs_hook_kind, uint32_t);
SIZE(rfs_hook, 64, 40, 40);
FIELD(rfs_hook, size, uint64_t *, 0, 0, 0);
FIELD(rfs_hook, flags, uint64_t *, 8, 8, 8);
FIELD(rfs_hook, path, const char **, 16, 16, 16);
FIELD(rfs_hook, args, const char *const **, 24, 20, 20);
FIELD(rfs_hook, n_args, size_t *, 32, 24, 24);
FIELD(rfs_hook, env, const char *const **, 40, 28, 28);
FIELD(rfs_hook, n_env, size_t *, 48, 32, 32);
FIELD(rfs_hook, timeout, uint32_t *, 56, 36, 36);
SIZE(rfs_options, 120, 72, 72);
FIELD(rfs_options, size, uint64_t *, 0, 0, 0);
FIELD(rfs_options, flags, uint64_t *, 8, 8, 8);
FIELD(rfs_options, rootfs_fd, int *, 16, 16, 16);
FIELD(rfs_options, umask, uint32_t *, 20, 20, 20);
FIELD(rfs_options, rootfs_propagation, const char **, 24, 24, 24);
FIELD(rfs_options, cwd, const char **, 32, 28, 28);
FIELD(rfs_options, mount_label, const char **, 40, 32, 32);
FIELD(rfs_options, cgroup_path, const char **, 48, 36, 36);
FIELD(rfs_options, mount_context_type, const char **, 56, 40, 40);
FIELD(rfs_options, uid_mappings, const struct rfs_id_mapping **, 64, 44, 44);
FIELD(rfs_options, n_uid_mappings, size_t *, 72, 48, 48);
FIELD(rfs_options, gid_mappings, const struct rfs_id_mapping **, 80, 52, 52);
FIELD(rfs_options, n_gid_mappings, size_t *, 88, 56, 56);
FIELD(rfs_options, rootfs_idmap, const char **, 96, 60, 60);
FIELD(rfs_options, bundle, const char **, 104, 64, 64);
FIELD(rfs_options, final_propagation, const char **, 112, 68, 68);
FUNCTION(rfs_config_from_oci, int (*)(const char *, size_t, const char *, struct rfs_config **, struct rfs_error *));
FUNCTION(rfs_config_new, int (*)(const char *, struct rfs_config **, struct rfs_error *));
FUNCTION(rfs_config_add_mount, int (*)(struct rfs_config *, const struct rfs_mount *, struct rfs_error *));
FUNCTION(rfs_config_add_fstab, int (*)(struct rfs_config *, const char *, const char *const *, uint64_t *, struct
                                       rfs_error *));
FUNCTION(rfs_config_add_file, int (*)(struct rfs_config *, const struct rfs_file *, struct rfs_error *));
FUNCTION(rfs_config_add_device, int (*)(struct rfs_config *, const struct rfs_device *, struct rfs_error *));
FUNCTION(rfs_config_add_masked_path, int (*)(struct rfs_config *, const char *, struct rfs_error *));
FUNCTION(rfs_config_add_readonly_path, int (*)(struct rfs_config *, const char *, struct rfs_error *));
FUNCTION(rfs_config_add_hook, int (*)(struct rfs_config *, rfs_hook_kind, const struct rfs_hook *, struct rfs_error *));
FUNCTION(rfs_config_set_options, int (*)(struct rfs_config *, const struct rfs_options *, struct rfs_error *));
FUNCTION(rfs_config_free, void (*)(struct rfs_config *));
FUNCTION(rfs_mount_option_names, const char *const * (*)(void));
FUNCTION(rfs_plan_new, int (*)(const struct rfs_config *, struct rfs_plan **, struct rfs_error *));
FUNCTION(rfs_plan_describe, int (*)(const struct rfs_plan *, int, struct rfs_error *));
FUNCTION(rfs_plan_warning, const char * (*)(const struct rfs_plan *, uint64_t));
FUNCTION(rfs_plan_free, void (*)(struct rfs_plan *));
SIZE(rfs_mount_request, 48, 40, 36);
FIELD(rfs_mount_request, size, uint64_t *, 0, 0, 0);
FIELD(rfs_mount_request, flags, uint64_t *, 8, 8, 8);
FIELD(rfs_mount_request, mount_index, uint64_t *, 16, 16, 16);
FIELD(rfs_mount_request, source, const char **, 24, 24, 24);
FIELD(rfs_mount_request, destination, const char **, 32, 28, 28);
FIELD(rfs_mount_request, err, struct rfs_error **, 40, 32, 32);
TYPE(rfs_point, uint32_t);
TYPE(rfs_log_level, uint32_t);
SIZE(rfs_callbacks, 56, 32, 32);
FIELD(rfs_callbacks, size, uint64_t *, 0, 0, 0);
FIELD(rfs_callbacks, userdata, void **, 8, 8, 8);
FIELD(rfs_callbacks, mountfd, int (**)(void *, const struct rfs_mount_request *), 16, 12, 12);
FIELD(rfs_callbacks, point, int (**)(void *, rfs_point), 24, 16, 16);
FIELD(rfs_callbacks, log, void (**)(void *, rfs_log_level, const char *), 32, 20, 20);
FIELD(rfs_callbacks, state, const char **, 40, 24, 24);
FIELD(rfs_callbacks, state_len, size_t *, 48, 28, 28);
FUNCTION(rfs_container_new, int (*)(const struct rfs_plan *, struct rfs_container **, struct rfs_error *));
FUNCTION(rfs_container_set_rootfs_fd, int (*)(struct rfs_container *, int, struct rfs_error *));
FUNCTION(rfs_container_set_source_fd, int (*)(struct rfs_container *, uint64_t, int, struct rfs_error *));
FUNCTION(rfs_container_root_fd, int (*)(const struct rfs_container *));
FUNCTION(rfs_prepare, int (*)(struct rfs_container *, const struct rfs_callbacks *, struct rfs_error *));
FUNCTION(rfs_finalize, int (*)(struct rfs_container *, struct rfs_error *));
FUNCTION(rfs_mask_paths, int (*)(struct rfs_container *, struct rfs_error *));
FUNCTION(rfs_readonly_paths, int (*)(struct rfs_container *, struct rfs_error *));
FUNCTION(rfs_bind_console, int (*)(struct rfs_container *, int, struct rfs_error *));
FUNCTION(rfs_bind_fd, int (*)(struct rfs_container *, int, const char *, struct rfs_error *));
FUNCTION(rfs_container_free, void (*)(struct rfs_container *));
FUNCTION(rfs_plan_mountfd_needed, int (*)(const struct rfs_plan *, uint64_t));
FUNCTION(rfs_mountfd_open, int (*)(const struct rfs_plan *, uint64_t, int, int, struct rfs_error *));
FUNCTION(rfs_mountfd_serve, int (*)(const struct rfs_plan *, int, int, int, struct rfs_error *));
FUNCTION(rfs_mountfd_answer, int (*)(const struct rfs_plan *, int, int, int, struct rfs_error *));
FUNCTION(rfs_mountfd_request, int (*)(void *, const struct rfs_mount_request *));
FUNCTION(rfs_attach, int (*)(const struct rfs_plan *, uint64_t, int, struct rfs_error *));
FUNCTION(rfs_run_hooks, int (*)(const struct rfs_plan *, rfs_hook_kind, const char *, size_t, struct rfs_error *));
