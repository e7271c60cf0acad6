// SPDX-License-Identifier: MIT OR Apache-2.0
//! rfs_config: building what is wanted.
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_int};

use super::guard::{guard, silence_panics};
use super::input::{
    aligned, hook_kind, invalid, known_flags, list, mappings, null, optional, required, sized,
    slice, strings,
};
use super::types::*;
use crate::config::{
    Bytes, Config, Content, Device, DeviceKind, File, FileKind, Hook, Mount, fstab, oci, options,
};
use crate::error::{Object, Result, Stage};

/// What is wanted for a container. It is mutable, and is built before the fork.
pub struct rfs_config(pub(super) Config);

/// Reads the sections of an OCI config.json that concern the file system: root, mounts, hooks, process.cwd,
/// process.user.umask; linux.devices, maskedPaths, readonlyPaths, rootfsPropagation, mountLabel, uidMappings,
/// gidMappings, and whether linux.namespaces has mount, user and cgroup; and the annotation run.oci.mount_context_type.
/// Other sections are not looked at. The devices that the runtime-spec demands are added.
///
/// json: len bytes; no NUL is needed at the end. bundle: the bundle's directory, absolute (see realpath(3)). A relative
/// root.path, and a relative source of a bind, are taken from it.
/// *out: owned by the caller; free it with rfs_config_free().
///
/// -EINVAL: not JSON, a wrong type or a missing field; the message names the field. -E2BIG: over 64 MiB.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_from_oci(
    json: *const c_char,
    len: usize,
    bundle: *const c_char,
    out: *mut *mut rfs_config,
    err: *mut rfs_error,
) -> c_int {
    silence_panics();
    let read = || {
        // SAFETY: the header demands len bytes at json.
        let json = unsafe { slice("json", json.cast::<u8>(), len) }?;
        // SAFETY: the header demands a string.
        let bundle = unsafe { required("bundle", bundle) }?;
        oci::parse(json, &bundle)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || give(out, read)) }
}

/// Begins a configuration by hand. It has the rootfs, the devices that the runtime-spec demands, and a mount namespace
/// of its own; nothing else. rootfs: an absolute path, or NULL where a descriptor or RFS_OPTION_TMPFS_ROOTFS stands for
/// it.
/// *out: owned by the caller; free it with rfs_config_free().
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_new(
    rootfs: *const c_char,
    out: *mut *mut rfs_config,
    err: *mut rfs_error,
) -> c_int {
    silence_panics();
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || give(out, || Ok(Config::new(optional(rootfs))))) }
}

/// Adds a mount. It is made after the mounts that were added before. The strings are copied; source_fd is only noted.
/// -EINVAL: no destination, an unknown flag, a NULL option.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_add_mount(
    config: *mut rfs_config,
    mount: *const rfs_mount,
    err: *mut rfs_error,
) -> c_int {
    let add = |config: &mut Config| {
        // SAFETY: the header demands that mount be as its size says, and its strings and arrays as it says.
        let mount = unsafe { sized("rfs_mount", mount).and_then(|mount| read_mount(&mount)) };
        push_mount(config, mount)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || change(config, add)) }
}

/// Adds one line of fstab(5), as LXC's lxc.mount.entry and lxc.mount.fstab have it. The mount keeps what its source
/// forbids (RFS_MOUNT_KEEP_RESTRICTIONS), and its mount point must exist, unless "create=dir" or "create=file" says
/// otherwise.
///
/// line: a newline may be at its end only. A relative destination is a path in the container. An absolute destination
/// is a path of the host: the longest of the prefixes that it begins with is taken off. If it begins with none of them,
/// the line is passed over with a warning (rfs_plan_warning()).
/// prefixes: absolute paths, with NULL after the last: the path of the rootfs, and others under which it is known.
/// NULL: there are none.
/// *index: the index of the mount, for rfs_container_set_source_fd() and the like. It is RFS_NO_MOUNT for an empty
/// line, a comment, and a line that is passed over. NULL is allowed.
///
/// -EINVAL: a field is missing, a NUL or newline is in one, or "idmap=" is neither "container" nor a mapping.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_add_fstab(
    config: *mut rfs_config,
    line: *const c_char,
    prefixes: *const *const c_char,
    index: *mut u64,
    err: *mut rfs_error,
) -> c_int {
    let add = |config: &mut Config| {
        // SAFETY: the header demands strings, and NULL after the last of the prefixes.
        let (line, prefixes) = unsafe { (required("line", line)?, list("prefixes", prefixes)?) };
        let object = Object::Mount(config.mounts.len());
        let added = fstab::add(config, &line, &prefixes)
            .map_err(|error| error.at(Stage::Config).about(object, b""))?;
        // SAFETY: the header demands NULL or a place for a number.
        if let Some(index) = unsafe { index.as_mut() } {
            *index = added.map_or(RFS_NO_MOUNT, |index| index as u64);
        }
        Ok(())
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || change(config, add)) }
}

/// Adds a step that makes a directory, a file or a symbolic link, or changes the mode and owner of what is there. It is
/// done in order with the mounts, and has an index among them. The strings and the content are copied. Only
/// the number of content_fd is noted.
/// -EINVAL: no path, an unknown flag or type, or a target or content that does not go with the type. -E2BIG: content
/// over 64 MiB.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_add_file(
    config: *mut rfs_config,
    file: *const rfs_file,
    err: *mut rfs_error,
) -> c_int {
    let add = |config: &mut Config| {
        // SAFETY: the header demands that the struct have the size that it states, with valid strings and arrays.
        let file = unsafe { sized("rfs_file", file).and_then(|file| read_file(&file)) };
        push_mount(config, file)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || change(config, add)) }
}

/// Adds a device node. A device with the path of a default device replaces that.
/// -EINVAL: no path, an unknown flag or type.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_add_device(
    config: *mut rfs_config,
    device: *const rfs_device,
    err: *mut rfs_error,
) -> c_int {
    let add = |config: &mut Config| {
        let index = config.devices.len();
        // SAFETY: the header demands that the struct have the size that it states, with valid strings and arrays.
        let device = unsafe { sized("rfs_device", device).and_then(|device| read_device(&device)) };
        config
            .devices
            .push(device.map_err(|error| error.about(Object::Device(Some(index)), b""))?);
        Ok(())
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || change(config, add)) }
}

/// Adds a path to mask. A file is covered with /dev/null, a directory with an empty read-only tmpfs. A missing path is
/// passed over.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_add_masked_path(
    config: *mut rfs_config,
    path: *const c_char,
    err: *mut rfs_error,
) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        guard(err, || {
            add_path(config, path, |config| &mut config.masked_paths)
        })
    }
}

/// Adds a path to make read-only: it is bound on itself. A missing path is passed over.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_add_readonly_path(
    config: *mut rfs_config,
    path: *const c_char,
    err: *mut rfs_error,
) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        guard(err, || {
            add_path(config, path, |config| &mut config.readonly_paths)
        })
    }
}

/// Adds a hook of one kind (RFS_HOOKS_*). It is run after the hooks of the same kind that were added before.
/// -EINVAL: an unknown kind or flag, no path, a NULL argument or variable.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_add_hook(
    config: *mut rfs_config,
    kind: rfs_hook_kind,
    hook: *const rfs_hook,
    err: *mut rfs_error,
) -> c_int {
    let add = |config: &mut Config| {
        let kind = hook_kind(kind)?;
        let hooks = &mut config.hooks[kind as usize];
        let object = Object::Hook(kind.name(), hooks.len());
        // SAFETY: the header demands that the struct have the size that it states, with valid strings and arrays.
        let hook = unsafe { sized("rfs_hook", hook).and_then(|hook| read_hook(&hook)) };
        hooks.push(hook.map_err(|error| error.about(object, b""))?);
        Ok(())
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || change(config, add)) }
}

/// Sets options of a container: see rfs_options.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_config_set_options(
    config: *mut rfs_config,
    options: *const rfs_options,
    err: *mut rfs_error,
) -> c_int {
    let set = |config: &mut Config| {
        // SAFETY: the header demands that the struct have the size that it states, with valid strings and arrays.
        unsafe { sized("rfs_options", options).and_then(|options| apply(config, &options)) }
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, || change(config, set)) }
}

/// Frees a configuration. Plans that were made from it stay valid. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rfs_config_free(config: *mut rfs_config) {
    if !config.is_null() {
        // SAFETY: the header demands that it come from here and not be used again.
        drop(unsafe { Box::from_raw(config) });
    }
}

/// The mount options that this library knows, sorted, with NULL after the last. A runtime gives them as mountOptions in
/// its answer to `features` (the runtime-spec's features.md). An option that is not among them goes to the file system
/// as data. The array is static: nothing is allocated, and nothing is to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn rfs_mount_option_names() -> *const *const c_char {
    static NAMES: OptionNames = option_names();
    NAMES.0.as_ptr()
}

/// The names, and NULL.
struct OptionNames([*const c_char; options::COUNT + 1]);

// SAFETY: the pointers are to constants, which every thread may read.
unsafe impl Sync for OptionNames {}

const fn option_names() -> OptionNames {
    let mut names = [core::ptr::null(); options::COUNT + 1];
    let mut index = 0;
    while index < options::COUNT {
        names[index] = options::name(index).as_ptr();
        index += 1;
    }
    OptionNames(names)
}

/// Hands an object to the caller.
///
/// # Safety
/// `out` is NULL or writable.
unsafe fn give(out: *mut *mut rfs_config, make: impl FnOnce() -> Result<Config>) -> Result<()> {
    if out.is_null() {
        return Err(null("out"));
    }
    aligned("out", out)?;
    let made = Box::new(rfs_config(make()?));
    // SAFETY: as promised by the caller.
    unsafe { *out = Box::into_raw(made) };
    Ok(())
}

/// # Safety
/// `config` is NULL or from here, and not used by another thread.
unsafe fn change(
    config: *mut rfs_config,
    change: impl FnOnce(&mut Config) -> Result<()>,
) -> Result<()> {
    // SAFETY: as promised by the caller.
    let config = unsafe { config.as_mut() }.ok_or_else(|| null("config"))?;
    change(&mut config.0)
}

/// # Safety
/// As for `change`; `path` is NULL or ends with NUL.
unsafe fn add_path(
    config: *mut rfs_config,
    path: *const c_char,
    list: impl FnOnce(&mut Config) -> &mut Vec<Bytes>,
) -> Result<()> {
    let add = |config: &mut Config| {
        // SAFETY: as promised by the caller.
        list(config).push(unsafe { required("path", path) }?);
        Ok(())
    };
    // SAFETY: as promised by the caller.
    unsafe { change(config, add) }
}

/// # Safety
/// The strings and arrays are NULL or as the header says.
unsafe fn read_mount(mount: &rfs_mount) -> Result<Mount> {
    const KNOWN: u64 = RFS_MOUNT_SOURCE_FD
        | RFS_MOUNT_FROM_HOST
        | RFS_MOUNT_KEEP_RESTRICTIONS
        | RFS_MOUNT_USERNS_FD
        | RFS_MOUNT_KEEP_FLAGS;
    known_flags("rfs_mount", mount.flags, KNOWN)?;
    // SAFETY: as promised by the caller.
    unsafe {
        let options = slice("options", mount.options, mount.n_options)?;
        Ok(Mount {
            destination: required("destination", mount.destination)?,
            fstype: optional(mount.r#type),
            source: optional(mount.source),
            source_fd: given_fd(
                "source_fd",
                mount.flags & RFS_MOUNT_SOURCE_FD,
                mount.source_fd,
            )?,
            from_host: mount.flags & RFS_MOUNT_FROM_HOST != 0,
            keep_flags: mount.flags & RFS_MOUNT_KEEP_FLAGS != 0,
            keep_restrictions: mount.flags & RFS_MOUNT_KEEP_RESTRICTIONS != 0,
            userns_fd: given_fd(
                "userns_fd",
                mount.flags & RFS_MOUNT_USERNS_FD,
                mount.userns_fd,
            )?,
            from_fstab: false,
            file: None,
            options: options
                .iter()
                .map(|&option| required("an option", option))
                .collect::<Result<_>>()?,
            uid_mappings: mappings("uid_mappings", mount.uid_mappings, mount.n_uid_mappings)?,
            gid_mappings: mappings("gid_mappings", mount.gid_mappings, mount.n_gid_mappings)?,
        })
    }
}

/// # Safety
/// The strings and the content are NULL or as the header says.
unsafe fn read_file(file: &rfs_file) -> Result<Mount> {
    const KNOWN: u64 = RFS_FILE_MODE | RFS_FILE_OWNER | RFS_FILE_CONTENT_FD;
    known_flags("rfs_file", file.flags, KNOWN)?;
    let has = |flag: u64| file.flags & flag != 0;
    let content_fd = given_fd(
        "content_fd",
        file.flags & RFS_FILE_CONTENT_FD,
        file.content_fd,
    )?;
    // SAFETY: as promised by the caller.
    let (path, target, bytes) = unsafe {
        (
            required("path", file.path)?,
            optional(file.target),
            slice("content", file.content.cast::<u8>(), file.content_len)?,
        )
    };
    let has_content = content_fd.is_some() || !bytes.is_empty();
    if content_fd.is_some() && !bytes.is_empty() {
        return Err(invalid("content and content_fd exclude each other"));
    }
    let kind = match u8::try_from(file.r#type) {
        Ok(b'd') => FileKind::Directory,
        Ok(b'f') => FileKind::Regular(match content_fd {
            Some(fd) => Content::Descriptor(fd),
            None => Content::Bytes(bytes.to_vec()),
        }),
        Ok(b'l') => FileKind::Link(target.clone().ok_or_else(|| null("target"))?),
        Ok(0) => FileKind::Existing,
        _ => return Err(invalid("rfs_file.type is none of 'd', 'f', 'l' and 0")),
    };
    if has_content && !matches!(kind, FileKind::Regular(_)) {
        return Err(invalid("content: only a regular file ('f') has one"));
    }
    if target.is_some() && !matches!(kind, FileKind::Link(_)) {
        return Err(invalid("target: only a symbolic link ('l') has one"));
    }
    Ok(Mount {
        destination: path,
        file: Some(File {
            kind,
            mode: has(RFS_FILE_MODE).then_some(file.mode),
            owner: has(RFS_FILE_OWNER).then_some((file.uid, file.gid)),
        }),
        ..Mount::default()
    })
}

/// # Safety
/// The path is NULL or ends with NUL.
unsafe fn read_device(device: &rfs_device) -> Result<Device> {
    known_flags("rfs_device", device.flags, RFS_DEVICE_FILE_MODE)?;
    let kind = match u8::try_from(device.r#type) {
        Ok(b'b') => DeviceKind::Block,
        Ok(b'c' | b'u') => DeviceKind::Character,
        Ok(b'p') => DeviceKind::Fifo,
        _ => return Err(invalid("rfs_device.type is none of 'b', 'c', 'u' and 'p'")),
    };
    Ok(Device {
        // SAFETY: as promised by the caller.
        path: unsafe { required("path", device.path) }?,
        kind,
        major: device.major,
        minor: device.minor,
        file_mode: (device.flags & RFS_DEVICE_FILE_MODE != 0).then_some(device.file_mode),
        uid: device.uid,
        gid: device.gid,
    })
}

/// # Safety
/// The strings and arrays are NULL or as the header says.
unsafe fn read_hook(hook: &rfs_hook) -> Result<Hook> {
    known_flags("rfs_hook", hook.flags, 0)?;
    // SAFETY: as promised by the caller.
    unsafe {
        Ok(Hook {
            path: required("path", hook.path)?,
            args: strings("args", "an argument", hook.args, hook.n_args)?,
            env: strings("env", "a variable", hook.env, hook.n_env)?,
            timeout: (hook.timeout > 0).then_some(hook.timeout),
        })
    }
}

fn given_fd(name: &str, is_given: u64, fd: c_int) -> Result<Option<c_int>> {
    match (is_given, fd) {
        (0, _) => Ok(None),
        (_, 0..) => Ok(Some(fd)),
        _ => Err(invalid(format_args!(
            "{name} is {fd}, which is no descriptor"
        ))),
    }
}

fn push_mount(config: &mut Config, mount: Result<crate::config::Mount>) -> Result<()> {
    let object = Object::Mount(config.mounts.len());
    config
        .mounts
        .push(mount.map_err(|error| error.about(object, b""))?);
    Ok(())
}

/// # Safety
/// The strings are NULL or end with NUL.
unsafe fn apply(config: &mut Config, options: &rfs_options) -> Result<()> {
    const KNOWN: u64 = 2 * RFS_OPTION_MOUNTS_BELOW_PROC - 1;
    known_flags("rfs_options", options.flags, KNOWN)?;
    let rootfs_fd = given_fd(
        "rootfs_fd",
        options.flags & RFS_OPTION_ROOTFS_FD,
        options.rootfs_fd,
    )?;
    let has = |flag: u64| options.flags & flag != 0;
    config.readonly_rootfs |= has(RFS_OPTION_READONLY_ROOTFS);
    config.no_pivot |= has(RFS_OPTION_NO_PIVOT);
    config.mount_namespace &= !has(RFS_OPTION_CHROOT);
    config.planned_inside |= has(RFS_OPTION_PLANNED_INSIDE);
    config.user_namespace |= has(RFS_OPTION_USER_NAMESPACE);
    config.cgroup_namespace |= has(RFS_OPTION_CGROUP_NAMESPACE);
    config.rootless |= has(RFS_OPTION_ROOTLESS);
    config.rootless_cgroups |= has(RFS_OPTION_ROOTLESS_CGROUPS);
    config.default_devices &= !has(RFS_OPTION_NO_DEFAULT_DEVICES);
    config.separate_masks |= has(RFS_OPTION_SEPARATE_MASKS);
    config.classic_mount |= has(RFS_OPTION_CLASSIC_MOUNT);
    config.keep_locked |= has(RFS_OPTION_KEEP_LOCKED);
    config.mounts_below_proc |= has(RFS_OPTION_MOUNTS_BELOW_PROC);
    config.tmpfs_rootfs |= has(RFS_OPTION_TMPFS_ROOTFS);
    config.keep_umask |= has(RFS_OPTION_KEEP_UMASK);
    config.rootfs_later |= has(RFS_OPTION_ROOTFS_LATER);
    config.own_namespace |= has(RFS_OPTION_OWN_NAMESPACE);
    config.host_root |= has(RFS_OPTION_HOST_ROOT);
    config.sysfs_from_host |= has(RFS_OPTION_SYSFS_FROM_HOST);
    config.ptmx_bind |= has(RFS_OPTION_PTMX_BIND);
    config.rootfs_fd = rootfs_fd.or(config.rootfs_fd);
    if has(RFS_OPTION_UMASK) {
        config.umask = options.umask;
    }
    // SAFETY: as promised by the caller.
    let (uids, gids) = unsafe {
        (
            mappings("uid_mappings", options.uid_mappings, options.n_uid_mappings)?,
            mappings("gid_mappings", options.gid_mappings, options.n_gid_mappings)?,
        )
    };
    for (field, given) in [
        (&mut config.uid_mappings, uids),
        (&mut config.gid_mappings, gids),
    ] {
        if !given.is_empty() {
            *field = given;
        }
    }
    for (field, given) in [
        (&mut config.rootfs_idmap, options.rootfs_idmap),
        (&mut config.rootfs_propagation, options.rootfs_propagation),
        (&mut config.cwd, options.cwd),
        (&mut config.mount_label, options.mount_label),
        (&mut config.mount_context_type, options.mount_context_type),
        (&mut config.cgroup_path, options.cgroup_path),
        (&mut config.bundle, options.bundle),
        (&mut config.final_propagation, options.final_propagation),
    ] {
        // SAFETY: as promised by the caller.
        if let Some(given) = unsafe { optional(given) } {
            *field = Some(given);
        }
    }
    Ok(())
}
