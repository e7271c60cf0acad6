// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a plan from a configuration.

use std::ffi::CString;

use rustix::io::Errno;

use super::{
    Idmap, IndexedPath, MAX_MOUNTS, Mount, Plan, Rootfs, Switch, devices, hooks, idmap, later,
    mounts, options, paths,
};
use crate::config::options::propagation;
use crate::config::{Bytes, Config};
use crate::error::{Error, Object, Result, Stage};
use crate::sys::{flags, path};
use crate::text::Quoted;

impl Plan {
    /// Checks the whole configuration. The first mistake in it is the error.
    pub fn new(config: &Config) -> Result<Self> {
        let mut warnings: Vec<CString> = Vec::new();
        let mut warn = |sentence: String| {
            // A path with a NUL in it was refused before, so this can't fail.
            warnings.push(CString::new(sentence).unwrap_or_default());
        };
        config.warnings.iter().cloned().for_each(&mut warn);
        Self::build(config, &mut warn)
            .map(|plan| Plan { warnings, ..plan })
            .map_err(|error| error.at(Stage::Plan))
    }

    fn build(config: &Config, warn: &mut impl FnMut(String)) -> Result<Self> {
        let rootfs = rootfs(config)?;
        let switch = match (config.host_root, config.mount_namespace, config.no_pivot) {
            (true, ..) => Switch::Stay,
            (_, false, _) => Switch::Chroot,
            (_, true, true) => Switch::Move,
            (_, true, false) => Switch::PivotRoot,
        };
        check_cgroup_path(config)?;
        let propagation = config
            .rootfs_propagation
            .as_deref()
            .map(|name| propagation_of("linux.rootfsPropagation", name))
            .transpose()?;
        let mut mounts = all_mounts(config, propagation, warn)?;
        let cwd = cwd(config)?;
        later::defer_readonly(&mut mounts, cwd.as_ref());
        let devices = devices::devices(config, warn)?;
        let readonly_paths = indexed(&config.readonly_paths, Object::ReadonlyPath, warn)?;
        let masked_paths = indexed(&config.masked_paths, Object::MaskedPath, warn)?;
        let made = devices.iter().map(|device| device.path.as_bytes());
        let paths = readonly_paths.iter().chain(&masked_paths);
        let looked_for = made.chain(paths.map(|it| it.path.as_bytes()));
        recognise(&mut mounts, looked_for.chain([&b"/dev/ptmx"[..]]));
        Ok(Plan {
            rootfs,
            propagation,
            devices,
            final_propagation: config
                .final_propagation
                .as_deref()
                .map(|name| propagation_of("final_propagation", name))
                .transpose()?,
            ptmx_bind: config.ptmx_bind,
            switch,
            cwd,
            readonly_rootfs: config.readonly_rootfs,
            umask: umask(config)?,
            readonly_paths,
            masked_paths,
            hooks: hooks::hooks(config)?,
            empty: mounts::empty(config)?,
            separate_masks: config.separate_masks,
            planned_inside: config.planned_inside,
            own_namespace: own_namespace(config)?,
            classic_mount: config.classic_mount,
            configured_mounts: config.mounts.len(),
            mounts,
            user_namespace: config.user_namespace,
            warnings: Vec::new(),
        })
    }
}

/// Checks RFS_OPTION_OWN_NAMESPACE, with which rfs_prepare() makes the mount namespace.
fn own_namespace(config: &Config) -> Result<bool> {
    let sentence = if !config.own_namespace {
        return Ok(false);
    } else if !config.mount_namespace {
        "RFS_OPTION_OWN_NAMESPACE: the container has no mount namespace of its own"
    } else if config.planned_inside {
        "RFS_OPTION_OWN_NAMESPACE and RFS_OPTION_PLANNED_INSIDE: the plan can't be made in a namespace that \
            is not there yet"
    } else {
        return Ok(true);
    };
    Err(Error::invalid(sentence))
}

fn rootfs(config: &Config) -> Result<Rootfs> {
    if config.host_root {
        refuse_for_host_root(config)?;
    }
    if config.tmpfs_rootfs {
        refuse_for_tmpfs_rootfs(config)?;
    }
    let path = match (&config.rootfs, config.rootfs_fd) {
        _ if config.tmpfs_rootfs => CString::default(),
        _ if config.host_root => c"/".to_owned(),
        (None, None) if !config.rootfs_later => {
            return Err(Error::invalid(
                "rootfs: neither a path nor a descriptor is given",
            ));
        }
        (None, _) => CString::default(),
        (Some(path), fd) => {
            let rootfs = paths::path("rootfs", paths::without_trailing_dots(path))?;
            if !path.starts_with(b"/") {
                return Err(Error::invalid(format_args!(
                    "rootfs: the path {} is not absolute",
                    Quoted(path)
                )));
            }
            if fd.is_none() && paths::clean(path) == b"/" {
                return Err(Error::invalid("rootfs: it is \"/\", the host's own root"));
            }
            rootfs
        }
    };
    Ok(Rootfs {
        path,
        fd: config.rootfs_fd,
        tmpfs: match config.tmpfs_rootfs {
            true => Some(mounts::tmpfs_rootfs(config)?),
            false => None,
        },
        is_checked: !config.rootfs_later && !config.host_root && !config.tmpfs_rootfs,
        ask_if_unreachable: !config.rootless && !config.host_root && config.rootfs_fd.is_none(),
        idmap: rootfs_idmap(config)?,
    })
}

/// Checks RFS_OPTION_TMPFS_ROOTFS, with which rfs_prepare() makes the rootfs.
fn refuse_for_tmpfs_rootfs(config: &Config) -> Result<()> {
    let reason = if config.host_root {
        "RFS_OPTION_HOST_ROOT has no rootfs"
    } else if config.rootfs.is_some() || config.rootfs_fd.is_some() || config.rootfs_later {
        "there is a rootfs already"
    } else if config.rootfs_idmap.is_some() {
        "rootfs_idmap: a new tmpfs has nothing to map"
    } else if !config.mount_namespace {
        "without a mount namespace of its own it would cover the host's root"
    } else if config.no_pivot {
        "RFS_OPTION_NO_PIVOT: what is mounted on \"/\" can't be moved there"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format_args!(
        "RFS_OPTION_TMPFS_ROOTFS: {reason}"
    )))
}

/// Checks RFS_OPTION_HOST_ROOT against options that have no meaning on the host's own root or would change the host.
fn refuse_for_host_root(config: &Config) -> Result<()> {
    let is_separate = |name: &Bytes| matches!(name.as_slice(), b"rprivate" | b"rslave");
    let reason = if config.rootfs.is_some() || config.rootfs_fd.is_some() || config.rootfs_later {
        "there is a rootfs"
    } else if config.rootfs_idmap.is_some() {
        "rootfs_idmap: \"/\" stays as it is"
    } else if !config.mount_namespace {
        "without a mount namespace of its own the mounts would be the host's"
    } else if config.own_namespace {
        "RFS_OPTION_OWN_NAMESPACE: call unshare(CLONE_NEWNS) before rfs_prepare()"
    } else if config.no_pivot {
        "RFS_OPTION_NO_PIVOT: the root is not switched"
    } else if !config.rootfs_propagation.as_ref().is_none_or(is_separate) {
        "linux.rootfsPropagation: only \"rprivate\" and \"rslave\" keep the mounts from the host; \
            final_propagation comes last"
    } else if !config.devices.is_empty() {
        "devices: none are made in the host's /dev"
    } else if config.ptmx_bind {
        "RFS_OPTION_PTMX_BIND: nothing is made in the host's /dev"
    } else if config.cwd.as_ref().is_some_and(|cwd| cwd != b"/") {
        "process.cwd: no directory is made on the host"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format_args!(
        "RFS_OPTION_HOST_ROOT: {reason}"
    )))
}

fn rootfs_idmap(config: &Config) -> Result<Option<Idmap>> {
    let Some(option) = config.rootfs_idmap.as_deref() else {
        return Ok(None);
    };
    let plain = |recursive| {
        Some(idmap::Asked {
            recursive,
            mapping: None,
        })
    };
    let asked = match option {
        b"idmap" => plain(false),
        b"ridmap" => plain(true),
        option => idmap::Asked::with_mapping(option),
    };
    if asked.is_none() {
        return Err(Error::invalid(format_args!(
            "rootfs_idmap: {} is neither \"idmap\" nor \"ridmap\", with \"=\" and a mapping or without",
            Quoted(option)
        )));
    }
    idmap::idmap(config, (&[], &[]), None, asked)
        .map_err(|error| error.about(Object::None, b"rootfs_idmap"))
}

fn check_cgroup_path(config: &Config) -> Result<()> {
    let Some(path) = &config.cgroup_path else {
        return Ok(());
    };
    paths::path("cgroup_path", path)?;
    if !path.starts_with(b"/") {
        return Err(Error::invalid("cgroup_path: it is not absolute"));
    }
    Ok(())
}

fn propagation_of(field: &str, name: &[u8]) -> Result<u64> {
    propagation(name).ok_or_else(|| {
        Error::invalid(format_args!(
            "{field}: {} is none of private, slave, shared and unbindable, \
             with or without an \"r\" before it",
            Quoted(name)
        ))
    })
}

fn all_mounts(
    config: &Config,
    root_propagation: Option<u64>,
    warn: &mut impl FnMut(String),
) -> Result<Vec<Mount>> {
    if config.mounts.len() > MAX_MOUNTS {
        return Err(Error::check(
            Errno::TOOBIG,
            format_args!(
                "mounts: {} are more than a container may have ({MAX_MOUNTS})",
                config.mounts.len()
            ),
        ));
    }
    let is_shared = |flags: u64| flags & flags::MS_SHARED != 0;
    let mut below_shared = root_propagation.is_some_and(is_shared);
    let mut mounts: Vec<Mount> = Vec::with_capacity(config.mounts.len());
    // The index among `mounts` of the tmpfs that the current mount's directory may lie in.
    let mut new_tmpfs: Option<usize> = None;
    let rootfs = config.rootfs.as_deref().map(paths::clean);
    let rootfs = rootfs.filter(|path| path != b"/");
    for (index, wanted) in config.mounts.iter().enumerate() {
        let planned = mounts::mount(config, index, wanted, rootfs.as_deref(), below_shared, warn)
            .map_err(|error| error.about(Object::Mount(index), &wanted.destination));
        let mut mount = match planned {
            Ok(mount) => mount,
            Err(error) if options::is_optional(wanted) => {
                warn(format!("optional, and passed over: {error}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        below_shared |= mount.propagation.iter().copied().any(is_shared);
        let (directory, _) = path::split(mount.destination.as_bytes());
        let tmpfs = new_tmpfs.and_then(|place| mounts.get(place));
        mount.surely_missing = tmpfs.is_some_and(|it| it.destination.as_bytes() == directory);
        if is_new_tmpfs(&mount) {
            new_tmpfs = Some(mounts.len());
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

/// Marks the mounts that one of the paths lies below, and the mounts that become read-only later.
fn recognise<'a>(mounts: &mut [Mount], paths: impl Iterator<Item = &'a [u8]>) {
    let mut paths: Vec<&[u8]> = paths.collect();
    paths.sort_unstable();
    for mount in mounts {
        let above = [mount.destination.as_bytes(), b"/"].concat();
        let first = paths.partition_point(|path| *path < &above[..]);
        let is_above = paths
            .get(first)
            .is_some_and(|path| path.starts_with(&above));
        mount.is_recognised = !mount.is_made() && (mount.readonly_later || is_above);
    }
}

fn is_new_tmpfs(mount: &Mount) -> bool {
    matches!(&mount.kind, super::Kind::Filesystem(new) if new.fstype.as_c_str() == c"tmpfs")
}

fn cwd(config: &Config) -> Result<Option<CString>> {
    let Some(cwd) = config.cwd.as_deref().filter(|cwd| !cwd.is_empty()) else {
        return Ok(None);
    };
    paths::path("process.cwd", cwd)?;
    if !cwd.starts_with(b"/") {
        return Err(Error::invalid(format_args!(
            "process.cwd: the path {} is not absolute",
            Quoted(cwd)
        )));
    }
    let cleaned = paths::clean(cwd);
    if cleaned == b"/" {
        return Ok(None);
    }
    paths::c_string("process.cwd", cleaned).map(Some)
}

fn umask(config: &Config) -> Result<Option<u32>> {
    if config.keep_umask {
        return Ok(None);
    }
    let umask = config.umask;
    if umask > 0o777 {
        return Err(Error::invalid(format_args!(
            "process.user.umask: {umask:#o} has more than permission bits (0777)"
        )));
    }
    Ok(Some(umask))
}

/// The paths in the container. A path that is named twice is taken once.
fn indexed(
    list: &[Bytes],
    object: fn(usize) -> Object,
    warn: &mut impl FnMut(String),
) -> Result<Vec<IndexedPath>> {
    let mut paths = Vec::with_capacity(list.len());
    for (index, bytes) in list.iter().enumerate() {
        let object = object(index);
        let inside = paths::inside("path", bytes).map_err(|error| error.about(object, bytes))?;
        if inside.was_relative {
            warn(format!(
                "{object}: the path {} is not absolute; it is taken from \"/\"",
                Quoted(bytes)
            ));
        }
        paths.push(IndexedPath {
            index,
            path: inside.path,
        });
    }
    paths.sort_by(|a, b| a.path.cmp(&b.path));
    paths.dedup_by(|later, first| later.path == first.path);
    paths.sort_by_key(|path| path.index);
    Ok(paths)
}
