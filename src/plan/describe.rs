// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a plan as JSON, one line with an object for each step.

use std::ffi::CStr;
use std::io::{self, Write};

use super::attributes::Change;
use super::{
    Bind, Content, Create, Device, Filesystem, Hierarchies, Hook, Idmap, Ids, IndexedPath, Kind,
    Link, Make, Mount, Node, Plan, Shape, Switch,
};
use crate::config::HookKind;
use crate::config::options::propagation_name;
use crate::sys::flags;
use crate::text::Escaped;

impl Plan {
    /// The steps in the order in which they are carried out.
    pub fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut emit = |step: Step| out.write_all(step.finish().as_bytes());
        for warning in &self.warnings {
            emit(Step::new("warning").string("message", warning))?;
        }
        let mut root = Step::new("root")
            .path(&self.rootfs.path)
            .flag("descriptor", self.rootfs.fd.is_some())
            .flag("tmpfs", self.rootfs.tmpfs.is_some())
            .idmap(&self.rootfs.idmap)
            .flag("own_namespace", self.own_namespace)
            .flag("classic_mount", self.classic_mount);
        if let Some(propagation) = self.propagation {
            root = root.word("propagation", propagation_name(propagation));
        }
        emit(root)?;
        for step in &self.mounts {
            emit(mount(step))?;
        }
        let mut on_dev = self.mounts.iter().filter(|mount| mount.is_on_dev());
        if !on_dev.next_back().is_some_and(Mount::brings_foreign_dev) {
            for step in &self.devices {
                emit(device(step))?;
            }
            emit(Step::new("dev-links"))?;
        }
        let (before_switch, at_the_end) = HookKind::ALL.split_at(HookKind::StartContainer as usize);
        self.hook_steps(before_switch).try_for_each(&mut emit)?;
        let how = match self.switch {
            Switch::PivotRoot => "pivot_root",
            Switch::Move => "move",
            Switch::Chroot => "chroot",
            Switch::Stay => "stay",
        };
        emit(Step::new("switch").word("how", how))?;
        if let Some(cwd) = &self.cwd {
            emit(Step::new("cwd").path(cwd))?;
        }
        for mount in self.mounts.iter().filter(|mount| mount.readonly_later) {
            emit(
                Step::new("remount-readonly")
                    .number("index", mount.index)
                    .path(&mount.destination),
            )?;
        }
        if self.readonly_rootfs {
            emit(Step::new("remount-readonly").path(c"/"))?;
        }
        if let Some(umask) = self.umask {
            emit(Step::new("umask").word("mode", &format!("{umask:04o}")))?;
        }
        for (step, paths) in [
            ("readonly-path", &self.readonly_paths),
            ("mask", &self.masked_paths),
        ] {
            for IndexedPath { index, path } in paths {
                let step = Step::new(step).number("index", *index).path(path);
                emit(step.flag("separate", self.separate_masks))?;
            }
        }
        if let Some(propagation) = self.final_propagation {
            emit(Step::new("propagation").word("how", propagation_name(propagation)))?;
        }
        self.hook_steps(at_the_end).try_for_each(emit)
    }

    fn hook_steps(&self, kinds: &[HookKind]) -> impl Iterator<Item = Step> {
        kinds.iter().flat_map(|&kind| {
            let hooks = self.hooks[kind as usize].iter().enumerate();
            hooks.map(move |(index, it)| hook(kind, index, it))
        })
    }
}

fn mount(mount: &Mount) -> Step {
    if let Kind::Make(it) = &mount.kind {
        return make(mount, it);
    }
    let step = Step::new("mount")
        .number("index", mount.index)
        .path(&mount.destination);
    let step = match &mount.kind {
        Kind::Filesystem(it) => filesystem(step.word("kind", "filesystem"), it),
        Kind::Bind(it) => bind(step.word("kind", "bind"), it),
        Kind::Make(_) => step,
        Kind::Remount(it) => attributes(step.word("kind", "remount"), it.replacing(0)),
        Kind::Cgroup(it) => {
            let step = step.word("kind", "cgroup");
            let step = match &it.hierarchies {
                Hierarchies::All => step,
                Hierarchies::Unified => step.word("hierarchy", "unified"),
                Hierarchies::One(controllers) => step.string("hierarchy", controllers),
            };
            filesystem(step, &it.unified)
        }
    };
    let step = match mount.create {
        None => step,
        Some(Create::Nothing) => step.word("create", "none"),
        Some(Create::Shape(Shape::Directory)) => step.word("create", "dir"),
        Some(Create::Shape(Shape::File)) => step.word("create", "file"),
    };
    let step = step
        .flag("destination_nofollow", mount.destination_nofollow)
        .flag("optional", mount.optional)
        .flag("readonly_later", mount.readonly_later);
    let step = match mount.recursive {
        None => step,
        Some(change) => step
            .list("set_recursively", flags::names(change.set))
            .list("clear_recursively", flags::names(change.clear)),
    };
    step.list(
        "propagation",
        mount.propagation.iter().copied().map(propagation_name),
    )
}

/// Describes a file without its content, which may be a secret.
fn make(mount: &Mount, make: &Make) -> Step {
    let step = Step::new("make")
        .number("index", mount.index)
        .path(&mount.destination);
    let step = match &make.node {
        Node::Directory => step.word("type", "d"),
        Node::Link(target) => step.word("type", "l").string("target", target),
        Node::Existing => step,
        Node::Regular(Content::Bytes(bytes)) => step.word("type", "f").number("size", bytes.len()),
        Node::Regular(Content::Descriptor(_)) => step.word("type", "f").flag("descriptor", true),
    };
    let step = match make.mode {
        Some(mode) => step.word("mode", &format!("{mode:04o}")),
        None => step,
    };
    match make.owner {
        Some((uid, gid)) => step.number("uid", uid as usize).number("gid", gid as usize),
        None => step,
    }
}

fn filesystem(step: Step, filesystem: &Filesystem) -> Step {
    let parameters = filesystem.parameters.iter().map(|parameter| {
        let key = Escaped(parameter.key.to_bytes());
        match &parameter.value {
            Some(value) => format!("{key}={}", Escaped(value.to_bytes())),
            None => key.to_string(),
        }
    });
    step.string("type", &filesystem.fstype)
        .string("source", &filesystem.source)
        .list("set", flags::names(filesystem.attributes))
        .list("parameters", parameters)
        .flag("copy_up", filesystem.copy_up.is_some())
        .idmap(&filesystem.idmap)
        .optional("root_label", filesystem.root_label.as_deref())
        .flag("mount2", filesystem.needs_mount2)
        .flag("lowerdir_one_by_one", filesystem.layers.is_some())
}

fn bind(step: Step, bind: &Bind) -> Step {
    let step = step
        .string("source", &bind.source)
        .flag("relative", bind.relative)
        .flag("descriptor", bind.source_fd.is_some())
        .flag("recursive", bind.recursive)
        .optional("relabel", bind.relabel.as_deref());
    let step = match bind.link {
        Link::Follow => step,
        Link::Bind => step.word("link", "bind"),
        Link::Copy => step.word("link", "copy"),
    };
    let step = step.idmap(&bind.idmap);
    match bind.change {
        None => step,
        Some(change) => attributes(step, change.replacing(0))
            .flag("keep_restrictions", change.keeps_restrictions()),
    }
}

fn attributes(step: Step, change: Change) -> Step {
    step.list("set", flags::names(change.set))
        .list("clear", flags::names(change.clear))
}

fn device(device: &Device) -> Step {
    let kind = match device.mode & libc::S_IFMT {
        libc::S_IFBLK => "b",
        libc::S_IFIFO => "p",
        _ => "c",
    };
    let step = match device.index {
        None => Step::new("device"),
        Some(index) => Step::new("device").number("index", index),
    };
    step.path(&device.path)
        .word("type", kind)
        .number("major", device.major as usize)
        .number("minor", device.minor as usize)
        .word("mode", &format!("{:04o}", device.mode & !libc::S_IFMT))
        .number("uid", device.uid as usize)
        .number("gid", device.gid as usize)
}

/// Describes a hook without its environment, which may have secrets in it.
fn hook(kind: HookKind, index: usize, hook: &Hook) -> Step {
    let step = Step::new("hook")
        .word("kind", kind.name())
        .number("index", index)
        .path(&hook.path)
        .list(
            "args",
            hook.args
                .iter()
                .map(|arg| Escaped(arg.to_bytes()).to_string()),
        );
    match hook.timeout {
        None => step,
        Some(timeout) => step.number("timeout", timeout.as_secs() as usize),
    }
}

/// A line of JSON, key by key.
struct Step(String);

impl Step {
    fn new(step: &str) -> Self {
        Step("{".into()).word("step", step)
    }

    fn key(mut self, key: &str) -> Self {
        let comma = if self.0.len() > 1 { "," } else { "" };
        self.0 += &format!("{comma}\"{key}\":");
        self
    }

    fn word(self, key: &str, value: &str) -> Self {
        let mut step = self.key(key);
        step.0 += &quoted(value);
        step
    }

    fn string(self, key: &str, value: &CStr) -> Self {
        self.word(key, &Escaped(value.to_bytes()).to_string())
    }

    /// Only where there is one.
    fn optional(self, key: &str, value: Option<&CStr>) -> Self {
        match value {
            Some(value) => self.string(key, value),
            None => self,
        }
    }

    fn path(self, path: &CStr) -> Self {
        self.string("path", path)
    }

    fn number(self, key: &str, number: usize) -> Self {
        let mut step = self.key(key);
        step.0 += &number.to_string();
        step
    }

    /// Only where there is one.
    fn idmap(self, idmap: &Option<Idmap>) -> Self {
        let Some(idmap) = idmap else {
            return self;
        };
        let step = self.word("idmap", if idmap.recursive { "recursive" } else { "top" });
        let mappings = match &idmap.mappings {
            Ids::Containers => return step,
            Ids::Namespace(_) => return step.flag("user_namespace", true),
            Ids::Own(mappings) => mappings,
        };
        let lines = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let (uids, gids) = (lines(&mappings.uids), lines(&mappings.gids));
        step.list("uids", uids.lines()).list("gids", gids.lines())
    }

    /// Only where it is set.
    fn flag(self, key: &str, flag: bool) -> Self {
        if !flag {
            return self;
        }
        let mut step = self.key(key);
        step.0 += "true";
        step
    }

    fn list(self, key: &str, values: impl Iterator<Item = impl AsRef<str>>) -> Self {
        let mut step = self.key(key);
        step.0 += "[";
        for (index, value) in values.enumerate() {
            step.0 += if index > 0 { "," } else { "" };
            step.0 += &quoted(value.as_ref());
        }
        step.0 += "]";
        step
    }

    fn finish(self) -> String {
        self.0 + "}\n"
    }
}

/// A string always becomes JSON, so an error can't come up here.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
