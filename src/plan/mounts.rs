// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans one mount of the configuration, by its kind.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use rustix::io::Errno;

use super::attributes::{BindChange, Change, SUPERBLOCK_FLAGS};
use super::options::Options;
use super::{
    Bind, Cgroup, CopyUp, Create, Filesystem, Hierarchies, Idmap, Instead, Kind, Link, Mount,
    PARAMETER_MAX, Parameter, idmap, label, make, paths, proc,
};
use crate::config::options::Shape;
use crate::config::{self, Config, oci};
use crate::error::{Error, Result};
use crate::sys::flags::{self, MS_BIND, MS_RDONLY, MS_REC, MS_REMOUNT};
use crate::sys::path::below;
use crate::text::{Escaped, Quoted};

/// The attributes that runc gives the tmpfs that holds v1 hierarchies, and the hierarchies in it.
const CGROUP_FLAGS: u64 = flags::MS_NOSUID | flags::MS_NODEV | flags::MS_NOEXEC;

/// These types show what the kernel keeps for namespaces, and no kernel lets them be idmapped.
const NEVER_IDMAPPED: [&[u8]; 5] = [b"proc", b"sysfs", b"mqueue", b"cgroup", b"cgroup2"];

/// These types have one superblock for the machine or for a namespace, which containers share.
const ONE_FOR_MANY: [&[u8]; 17] = [
    b"binfmt_misc",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devtmpfs",
    b"efivarfs",
    b"fusectl",
    b"mqueue",
    b"proc",
    b"pstore",
    b"rpc_pipefs",
    b"securityfs",
    b"selinuxfs",
    b"smackfs",
    b"sysfs",
    b"tracefs",
];

/// `below_shared` tells whether a mount before this one may be shared. `rootfs` is the rootfs's cleaned path. It is
/// taken off a destination that begins with it, as runc does (utils.StripRoot).
pub fn mount(
    config: &Config,
    index: usize,
    wanted: &config::Mount,
    rootfs: Option<&[u8]>,
    below_shared: bool,
    warn: &mut impl FnMut(String),
) -> Result<Mount> {
    if let Some(file) = &wanted.file {
        return make::make(config, index, wanted, file);
    }
    let mut destination = paths::inside_or_root("destination", &wanted.destination)?;
    // Podman writes an empty one for `--tmpfs /`.
    if !wanted.destination.is_empty() && !wanted.destination.starts_with(b"/") {
        warn(format!(
            "mounts[{index}]: the destination {} is not absolute, which is deprecated; it is taken from \"/\"",
            Quoted(&wanted.destination)
        ));
    }
    if let Some(rest) = rootfs.and_then(|rootfs| below(rootfs, &destination)) {
        let rest: &[u8] = if rest.is_empty() { b"/" } else { rest };
        warn(format!(
            "mounts[{index}]: the destination {} begins with the rootfs's own path; it is taken from the rootfs: {}",
            Quoted(&wanted.destination),
            Quoted(rest)
        ));
        destination = rest.to_vec();
    }
    let destination = paths::c_string("destination", destination)?;
    if config.host_root && destination.as_bytes() == b"/" {
        return Err(Error::invalid(
            "destination: RFS_OPTION_HOST_ROOT: \"/\" stays as it is",
        ));
    }
    let options = Options::parse(wanted)?;
    let fstype = wanted.fstype.as_deref().unwrap_or_default();
    let is_bind = fstype == b"bind" || options.set & MS_BIND != 0;
    if is_bind {
        options.check_of_bind(wanted, |option| {
            warn(format!(
                "mounts[{index}]: the option {} means nothing for a bind, and is ignored",
                Quoted(option)
            ));
        })?;
    } else {
        refuse_for_filesystems(wanted, &options, fstype)?;
        if wanted.options.iter().any(Vec::is_empty) {
            warn(format!("mounts[{index}]: an empty option is ignored"));
        }
    }
    let below_proc = match options.set & MS_REMOUNT {
        0 if is_bind && config.mounts_below_proc => proc::Below::Files,
        0 if is_bind && options.relative => proc::Below::OwnProcfs,
        _ => proc::Below::Nothing,
    };
    match proc::rule(destination.as_bytes()) {
        proc::ProcRule::Refused if below_proc == proc::Below::Nothing => {
            return Err(Error::invalid(proc::REFUSED));
        }
        proc::ProcRule::Proc if !is_bind && fstype != b"proc" => {
            return Err(Error::invalid(proc::NOT_PROCFS));
        }
        _ => {}
    }
    let never_root: [&[u8]; 4] = [b"proc", b"sysfs", b"cgroup", b"cgroup2"];
    if destination.as_c_str() == c"/" && !is_bind && never_root.contains(&fstype) {
        return Err(Error::invalid(format_args!(
            "destination: {} can't be the container's root",
            Escaped(fstype)
        )));
    }
    let kind = if is_bind && options.set & MS_REMOUNT != 0 {
        if options.relative {
            refuse_relative(wanted, &options)?;
        }
        let mut change = BindChange::exactly(options.set, options.cleared);
        change.keep_locked(config.keep_locked);
        if wanted.keep_restrictions {
            change.keep_restrictions();
        }
        if wanted.keep_flags {
            change.keep_others();
        }
        Kind::Remount(change)
    } else if is_bind {
        let mut bind = bind(config, wanted, &options)?;
        // Podman's `-v /proc/sys/net:/proc/sys/net` means the container's own files.
        if below_proc == proc::Below::Files && bind.is_itself_below_proc(&destination) {
            warn(format!(
                "mounts[{index}]: {} is bound on itself: that of the container's own /proc",
                Quoted(destination.as_bytes())
            ));
            bind.relative = true;
            bind.ask_if_unreachable = false;
        }
        if options.relabel.is_some() && bind.relabel.is_none() {
            warn(format!(
                "mounts[{index}]: without a mount label \"z\" and \"Z\" mean nothing, and nothing is relabelled"
            ));
        }
        Kind::Bind(bind)
    } else if fstype == b"cgroup" || (fstype == b"cgroup2" && config.user_namespace) {
        Kind::Cgroup(Box::new(cgroup(config, wanted, &options)?))
    } else {
        Kind::Filesystem(filesystem(
            config,
            wanted,
            &options,
            fstype,
            &destination,
            warn,
        )?)
    };
    Ok(Mount {
        index,
        destination,
        kind,
        create: match options.create {
            None if config.host_root => Some(Create::Nothing),
            create => create,
        },
        below_proc,
        destination_nofollow: options.destination_nofollow,
        from_host: wanted.from_host,
        optional: options.optional,
        readonly_later: false,
        surely_missing: false,
        recursive: options.recursive,
        propagation: options.propagation,
        below_shared,
        is_recognised: false,
    })
}

fn refuse_for_filesystems(
    wanted: &config::Mount,
    options: &Options<'_>,
    fstype: &[u8],
) -> Result<()> {
    let reason = if fstype.is_empty() {
        "type: missing; only a bind (option \"bind\" or \"rbind\") can do without"
    } else if wanted.source_fd.is_some() {
        "source_fd: only a bind has a descriptor as its source"
    } else if is_idmapped(wanted, options) && NEVER_IDMAPPED.contains(&fstype) {
        "uidMappings, gidMappings: a file system of this type can't be idmapped"
    } else if is_idmapped(wanted, options) && options.copy_up {
        "options: \"tmpcopyup\" excludes an idmapped mount: what is copied has owners of its own"
    } else if options.copy_symlink || options.source_nofollow {
        "options: \"copy-symlink\" and \"src-nofollow\" are for binds"
    } else if options.relabel.is_some() {
        "options: \"z\" and \"Z\" are for binds; a new file system has the mount label"
    } else if options.relative {
        "options: \"relative\" is for binds"
    } else if wanted.keep_restrictions {
        "RFS_MOUNT_KEEP_RESTRICTIONS: it is for binds"
    } else if options.create == Some(Create::Shape(Shape::File)) {
        "options: \"create=file\" is for binds"
    } else if options.copy_up && fstype != b"tmpfs" {
        "options: \"tmpcopyup\" is for a tmpfs only"
    } else if options.set & MS_REMOUNT != 0 {
        "options: \"remount\" is for binds"
    } else {
        return Ok(());
    };
    Err(Error::invalid(reason))
}

fn is_idmapped(wanted: &config::Mount, options: &Options<'_>) -> bool {
    options.idmap.is_some()
        || wanted.userns_fd.is_some()
        || !wanted.uid_mappings.is_empty()
        || !wanted.gid_mappings.is_empty()
}

fn refuse_relative(wanted: &config::Mount, options: &Options<'_>) -> Result<()> {
    let reason = if wanted.source_fd.is_some() {
        "options: \"relative\" is for a source given by path"
    } else if wanted.from_host || is_idmapped(wanted, options) {
        "options: \"relative\" excludes an idmapped mount and RFS_MOUNT_FROM_HOST: the host's side can't see the source"
    } else if options.copy_symlink {
        "options: \"relative\" excludes \"copy-symlink\": make the link in the rootfs"
    } else if options.set & MS_REMOUNT != 0 {
        "options: \"relative\" excludes \"remount\", which has no source"
    } else {
        return Ok(());
    };
    Err(Error::invalid(reason))
}

/// The path of a source in the container. A relative path begins at the root too.
fn relative_source(source: &[u8]) -> Result<CString> {
    let slash: &[u8] = if source.starts_with(b"/") { b"" } else { b"/" };
    paths::path("source", &[slash, source].concat())
}

fn bind(config: &Config, wanted: &config::Mount, options: &Options<'_>) -> Result<Bind> {
    if options.relative {
        refuse_relative(wanted, options)?;
    }
    let source = wanted.source.as_deref().unwrap_or_default();
    let source = match (source.is_empty(), wanted.source_fd) {
        (false, None) if options.relative => relative_source(source)?,
        (false, _) => absolute_source(config, source)?,
        (true, Some(_)) => CString::default(),
        (true, None) => {
            return Err(Error::invalid("source: missing; a bind needs one"));
        }
    };
    let by_path = (wanted.source_fd.is_none() && !options.relative).then_some(source.as_c_str());
    let relabel = match options.relabel {
        Some(shared) => label::of_bind(config, by_path, shared)?,
        None => None,
    };
    Ok(Bind {
        source,
        relative: options.relative,
        relabel,
        source_fd: wanted.source_fd,
        link: link(wanted, options)?,
        recursive: options.set & MS_REC != 0,
        change: bind_change(config, wanted, options),
        idmap: idmap_of(config, wanted, options)?,
        ask_if_unreachable: !config.rootless && wanted.source_fd.is_none() && !options.relative,
    })
}

fn bind_change(
    config: &Config,
    wanted: &config::Mount,
    options: &Options<'_>,
) -> Option<BindChange> {
    let mut change = BindChange::new(options.set, options.cleared)?;
    change.keep_locked(config.keep_locked);
    if wanted.keep_restrictions {
        change.keep_restrictions();
    }
    Some(change)
}

fn idmap_of(
    config: &Config,
    wanted: &config::Mount,
    options: &Options<'_>,
) -> Result<Option<Idmap>> {
    let own = (&wanted.uid_mappings[..], &wanted.gid_mappings[..]);
    idmap::idmap(config, own, wanted.userns_fd, options.idmap)
}

fn link(wanted: &config::Mount, options: &Options<'_>) -> Result<Link> {
    let nofollow = options.source_nofollow || options.destination_nofollow;
    if options.copy_symlink && nofollow {
        return Err(Error::invalid(
            "options: \"copy-symlink\" excludes \"src-nofollow\" and \"dest-nofollow\"",
        ));
    }
    if wanted.source_fd.is_some() && (options.copy_symlink || options.source_nofollow) {
        return Err(Error::invalid(
            "options: \"copy-symlink\" and \"src-nofollow\" are for a source given by path",
        ));
    }
    Ok(match (options.copy_symlink, options.source_nofollow) {
        (true, _) => Link::Copy,
        (false, true) => Link::Bind,
        (false, false) => Link::Follow,
    })
}

fn absolute_source(config: &Config, source: &[u8]) -> Result<CString> {
    let source = match &config.bundle {
        Some(bundle) if !source.starts_with(b"/") => {
            Cow::Owned(oci::below(bundle, source.to_vec()))
        }
        _ => Cow::Borrowed(source),
    };
    let path = paths::path("source", &source)?;
    if !source.starts_with(b"/") {
        return Err(Error::invalid(
            "source: a bind's source must be absolute where there is no bundle",
        ));
    }
    Ok(path)
}

fn filesystem(
    config: &Config,
    wanted: &config::Mount,
    options: &Options<'_>,
    fstype: &[u8],
    destination: &CStr,
    warn: &mut impl FnMut(String),
) -> Result<Filesystem> {
    let plain = fstype == b"proc" || fstype == b"sysfs";
    let unlabelled = plain || fstype == b"mqueue" || fstype == b"cgroup2";
    let mut made = new_superblock(
        fstype,
        wanted.source.as_deref(),
        options,
        (!unlabelled).then_some(config),
    )?;
    made.plain_target = plain;
    let own = |key: &CStr| {
        !made
            .parameters
            .iter()
            .any(|given| given.key.as_c_str() == key)
    };
    let of_target = CopyUp {
        mode: own(c"mode"),
        uid: own(c"uid"),
        gid: own(c"gid"),
    };
    made.copy_mode = fstype == b"tmpfs" && of_target.mode;
    made.copy_up = options.copy_up.then_some(of_target);
    made.idmap = idmap_of(config, wanted, options)?;
    if made.idmap.is_some() && made.needs_mount2 {
        return Err(Error::invalid(format_args!(
            "options: an idmapped file system is made with fsconfig(2), which has no \"iversion\" and takes at \
             most {PARAMETER_MAX} bytes for each option and the source"
        )));
    }
    if fstype == b"sysfs" && config.sysfs_from_host {
        made.instead = hosts_sysfs(config, options, destination);
    }
    if fstype == b"devpts" && config.user_namespace && made.idmap.is_none() {
        drop_unmapped_gid(config, &mut made.parameters, warn);
    }
    if fstype == b"mqueue" && !has_label(&made.parameters) {
        made.root_label = label::of_file(config)?;
    }
    Ok(made)
}

/// The host's sysfs, for a user namespace that has no network namespace of its own or sees no complete sysfs: the
/// kernel lets it mount none (mount_too_revealing() in fs/namespace.c). The host's is always bound read-only.
fn hosts_sysfs(config: &Config, options: &Options<'_>, destination: &CStr) -> Option<Instead> {
    if options.set & MS_RDONLY == 0 {
        return None;
    }
    let cgroup = [destination.to_bytes(), b"/fs/cgroup"].concat();
    let is_cgroup = |mount: &config::Mount| paths::clean(&mount.destination) == cgroup;
    Some(Instead {
        source: c"/sys".to_owned(),
        change: Change {
            set: flags::from_ms(options.set) & flags::NOT_ATIME,
            clear: 0,
        },
        hides_cgroup: !config.mounts.iter().any(is_cgroup),
    })
}

/// Every engine writes "gid=5", which is an error in a user namespace without group 5. Without the option the
/// terminals have their owner's group.
fn drop_unmapped_gid(
    config: &Config,
    parameters: &mut Vec<Parameter>,
    warn: &mut impl FnMut(String),
) {
    let is_mapped = |gid: u32| {
        let within =
            |m: &config::IdMapping| gid >= m.container_id && gid - m.container_id < m.count;
        config.gid_mappings.is_empty() || config.gid_mappings.iter().any(within)
    };
    parameters.retain(|given| {
        let value = given.value.as_deref().filter(|_| given.key.as_c_str() == c"gid");
        let gid = value.and_then(|value| value.to_str().ok()?.parse().ok());
        let keep = gid.is_none_or(is_mapped);
        if let (false, Some(gid)) = (keep, gid) {
            warn(format!(
                "devpts: the option \"gid={gid}\" is left out, as linux.gidMappings have no such group"
            ));
        }
        keep
    });
}

fn new_superblock(
    fstype: &[u8],
    source: Option<&[u8]>,
    options: &Options<'_>,
    labelled: Option<&Config>,
) -> Result<Filesystem> {
    let mut parameters = Vec::new();
    for (flag, key) in SUPERBLOCK_FLAGS {
        // If one container made this superblock read-only, it would be read-only in all containers.
        let is_others = flag == MS_RDONLY && ONE_FOR_MANY.contains(&fstype);
        if options.set & flag != 0 && !is_others {
            parameters.push(Parameter {
                key: key.to_owned(),
                value: None,
            });
        }
    }
    for data in &options.data {
        parameters.push(parameter(data)?);
    }
    // The kernel refuses most second labels: selinux_add_opt() in security/selinux/hooks.c.
    if let Some(config) = labelled.filter(|_| !has_label(&parameters)) {
        parameters.extend(label::parameter(config)?);
    }
    let source = source.unwrap_or(b"none");
    let mut made = Filesystem {
        fstype: paths::path("type", fstype)?,
        source: paths::c_string("source", source)?,
        parameters,
        attributes: flags::from_ms(options.set),
        plain_target: false,
        copy_mode: false,
        copy_up: None,
        root_label: None,
        idmap: None,
        needs_mount2: false,
        layers: None,
        instead: None,
    };
    made.choose_calls()?;
    Ok(made)
}

fn has_label(parameters: &[Parameter]) -> bool {
    parameters
        .iter()
        .any(|given| label::is_label(given.key.to_bytes()))
}

fn parameter(data: &[u8]) -> Result<Parameter> {
    let shown = Quoted(data);
    let (key, value) = match data.iter().position(|&b| b == b'=') {
        None => (data, None),
        Some(equals) => (&data[..equals], Some(&data[equals + 1..])),
    };
    if key.is_empty() || value.is_some_and(<[u8]>::is_empty) {
        let what = if key.is_empty() { "name" } else { "value" };
        return Err(Error::invalid(format_args!(
            "options: {shown} has no {what}"
        )));
    }
    let c_string = |text: &[u8]| paths::c_string(format_args!("options: {shown}"), text);
    let value = value.map(|value| {
        if !label::is_label(key) {
            return c_string(value);
        }
        // mount(2) removes the quotes that keep a label's commas together. fsconfig(2) takes a value as it is.
        let unquoted: Vec<u8> = value.iter().copied().filter(|&b| b != b'"').collect();
        c_string(&unquoted)
    });
    Ok(Parameter {
        key: c_string(key)?,
        value: value.transpose()?,
    })
}

pub(super) fn check_length(field: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() <= PARAMETER_MAX {
        return Ok(());
    }
    Err(Error::check(
        Errno::TOOBIG,
        format_args!(
            "{field}: {} bytes are more than fsconfig(2) takes ({PARAMETER_MAX})",
            bytes.len()
        ),
    ))
}

/// The tmpfs that masks directories. It is read-only and has the label of all mounts.
pub fn empty(config: &Config) -> Result<[Filesystem; 2]> {
    let of = |inodes: &'static [u8]| {
        let options = Options {
            set: MS_RDONLY,
            data: vec![b"nr_blocks=1", inodes, b"mode=555"],
            ..Options::default()
        };
        new_superblock(b"tmpfs", Some(b"tmpfs"), &options, Some(config))
    };
    Ok([of(b"nr_inodes=1")?, of(b"nr_inodes=2")?])
}

/// The tmpfs that RFS_OPTION_TMPFS_ROOTFS asks for.
pub fn tmpfs_rootfs(config: &Config) -> Result<Filesystem> {
    let options = Options {
        data: vec![b"mode=755"],
        ..Options::default()
    };
    new_superblock(b"tmpfs", Some(b"tmpfs"), &options, Some(config))
}

/// The v1 controllers by which a `cgroup` mount asks for one hierarchy: "Cgroups version 1 controllers" in
/// cgroups(7), and `misc` of Linux 5.13.
const CONTROLLERS: [&[u8]; 15] = [
    b"blkio",
    b"cpu",
    b"cpuacct",
    b"cpuset",
    b"debug",
    b"devices",
    b"freezer",
    b"hugetlb",
    b"memory",
    b"misc",
    b"net_cls",
    b"net_prio",
    b"perf_event",
    b"pids",
    b"rdma",
];

/// The hierarchies that are asked for, and the options that are data for cgroup2.
fn hierarchies<'a>(fstype: &[u8], options: &Options<'a>) -> Result<(Hierarchies, Options<'a>)> {
    let is_of_v1 = |option: &[u8]| CONTROLLERS.contains(&option) || option.starts_with(b"name=");
    let may_choose = fstype == b"cgroup";
    let (chosen, data): (Vec<&[u8]>, Vec<&[u8]>) = options
        .data
        .iter()
        .partition(|option| may_choose && (**option == b"unified" || is_of_v1(option)));
    let is_unified = chosen.contains(&&b"unified"[..]);
    let hierarchies = match (chosen.len(), is_unified) {
        (0, _) => Hierarchies::All,
        (1, true) => Hierarchies::Unified,
        (_, true) => {
            return Err(Error::invalid(
                "options: \"unified\" excludes the controllers of cgroup v1",
            ));
        }
        (_, false) if data.is_empty() => {
            Hierarchies::One(paths::c_string("options", chosen.join(&b','))?)
        }
        (_, false) => {
            return Err(Error::invalid(format_args!(
                "options: {} is no controller of cgroup v1, but the other options ask for one of its hierarchies",
                Quoted(data[0])
            )));
        }
    };
    let for_cgroup2 = Options {
        set: options.set,
        data,
        ..Options::default()
    };
    Ok((hierarchies, for_cgroup2))
}

fn cgroup(config: &Config, wanted: &config::Mount, options: &Options<'_>) -> Result<Cgroup> {
    let fstype = wanted.fstype.as_deref().unwrap_or_default();
    let (hierarchies, for_cgroup2) = hierarchies(fstype, options)?;
    let unified = new_superblock(b"cgroup2", wanted.source.as_deref(), &for_cgroup2, None)?;
    let path = match &config.cgroup_path {
        Some(path) if config.cgroup_namespace => Some(paths::c_string("cgroup_path", &path[..])?),
        _ => None,
    };
    let tmpfs = new_superblock(
        b"tmpfs",
        Some(b"tmpfs"),
        &Options {
            set: CGROUP_FLAGS,
            data: vec![b"mode=755"],
            ..Options::default()
        },
        Some(config),
    )?;
    Ok(Cgroup {
        hierarchies,
        unified,
        path,
        change: bind_change(config, wanted, options),
        tmpfs,
        hierarchy: flags::from_ms(CGROUP_FLAGS | (options.set & MS_RDONLY)),
        namespace: config.cgroup_namespace,
        is_unified: wanted.fstype.as_deref() == Some(b"cgroup2"),
        mask_if_missing: config.rootless_cgroups,
    })
}
