// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads config.json of the OCI runtime-spec, in oci-spec's types. It names only the sections that concern the file
//! system, so that a mistake in another section is no error here.

use std::mem::take;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use oci_spec::runtime as oci;
use serde::Deserialize;

use super::strict::Strict;
use super::{Bytes, Config, Device, DeviceKind, Hook, HookKind, IdMapping, Mount};
use crate::error::{Error, Result, Stage};
use crate::text::Quoted;

/// The sections that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sections {
    root: Option<oci::Root>,
    mounts: Option<Vec<oci::Mount>>,
    process: Option<Process>,
    linux: Option<Linux>,
    hooks: Option<oci::Hooks>,
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Process {
    cwd: Option<PathBuf>,
    user: Option<User>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    umask: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    uid_mappings: Option<Vec<oci::LinuxIdMapping>>,
    gid_mappings: Option<Vec<oci::LinuxIdMapping>>,
    namespaces: Option<Vec<oci::LinuxNamespace>>,
    devices: Option<Vec<oci::LinuxDevice>>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    rootfs_propagation: Option<String>,
    mount_label: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "run.oci.mount_context_type")]
    mount_context_type: Option<String>,
}

/// Reads the configuration of a bundle. `bundle` is the bundle's absolute path, from which relative paths are taken.
pub fn parse(json: &[u8], bundle: &[u8]) -> Result<Config> {
    read(json, bundle).map_err(|error| error.at(Stage::Config))
}

fn read(json: &[u8], bundle: &[u8]) -> Result<Config> {
    let sections = sections(json)?;
    if !bundle.starts_with(b"/") {
        return Err(Error::invalid(format_args!(
            "the bundle's path {} is not absolute; give what realpath(3) makes of it",
            Quoted(bundle)
        )));
    }
    let root = sections
        .root
        .filter(|root| !root.path().as_os_str().is_empty());
    let Some(root) = root else {
        return Err(wrong(
            "root.path",
            "it is missing or empty; it names the rootfs",
        ));
    };
    let mut config = Config::new(Some(below(
        bundle,
        root.path().as_os_str().as_bytes().to_vec(),
    )));
    config.bundle = Some(bundle.to_vec());
    config.readonly_rootfs = root.readonly().unwrap_or(false);
    config.mounts = list(sections.mounts, mount);
    let process = sections.process.unwrap_or_default();
    config.cwd = process.cwd.map(path);
    if let Some(umask) = process.user.unwrap_or_default().umask {
        config.umask = umask;
    }
    let linux = sections.linux.unwrap_or_default();
    let namespaces = linux.namespaces.unwrap_or_default();
    let has = |kind| namespaces.iter().any(|namespace| namespace.typ() == kind);
    config.mount_namespace = has(oci::LinuxNamespaceType::Mount);
    config.user_namespace = has(oci::LinuxNamespaceType::User);
    config.cgroup_namespace = has(oci::LinuxNamespaceType::Cgroup);
    config.uid_mappings = list(linux.uid_mappings, id_mapping);
    config.gid_mappings = list(linux.gid_mappings, id_mapping);
    config.devices = linux
        .devices
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(index, it)| device(index, it))
        .collect::<Result<_>>()?;
    config.masked_paths = list(linux.masked_paths, String::into_bytes);
    config.readonly_paths = list(linux.readonly_paths, String::into_bytes);
    config.rootfs_propagation = non_empty(linux.rootfs_propagation);
    config.mount_label = non_empty(linux.mount_label);
    config.mount_context_type =
        non_empty(sections.annotations.unwrap_or_default().mount_context_type);
    let mut given = sections.hooks.unwrap_or_default();
    for kind in HookKind::ALL {
        config.hooks[kind as usize] = hooks(kind, &mut given)?;
    }
    Ok(config)
}

fn sections(json: &[u8]) -> Result<Sections> {
    let mut text = serde_json::Deserializer::from_slice(json);
    let sections: Sections =
        serde_path_to_error::deserialize(Strict(&mut text)).map_err(|error| {
            // serde_path_to_error gives a mistake in the text as a whole the path ".", and ends the path of a mistake
            // between two fields of an object with "?".
            let path = error.path().to_string();
            let path = path.trim_end_matches(['.', '?']);
            wrong(path, &plain(error.inner().to_string()))
        })?;
    text.end().map_err(|error| wrong("", &error.to_string()))?;
    Ok(sections)
}

/// `path` is the field's path from the top, such as "mounts[1].destination".
fn wrong(path: &str, sentence: &str) -> Error {
    let separator = if path.is_empty() { "" } else { ": " };
    Error::invalid(format_args!("config.json: {path}{separator}{sentence}"))
}

/// Puts serde's sentence into the words of JSON, because a C programmer does not know Rust's.
fn plain(mut sentence: String) -> String {
    for (rust, json) in [
        ("invalid type: sequence", "invalid type: array"),
        ("invalid type: map", "invalid type: object"),
        ("expected a sequence", "expected an array"),
        ("expected path string", "expected a string"),
        ("expected i64", "expected a whole number"),
        (
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        ),
    ] {
        sentence = sentence.replace(rust, json);
    }
    sentence
}

fn list<T, U>(given: Option<Vec<T>>, read: impl FnMut(T) -> U) -> Vec<U> {
    given.unwrap_or_default().into_iter().map(read).collect()
}

fn path(path: PathBuf) -> Bytes {
    path.into_os_string().into_vec()
}

fn non_empty(text: Option<String>) -> Option<Bytes> {
    text.map(String::into_bytes).filter(|text| !text.is_empty())
}

fn mount(mut mount: oci::Mount) -> Mount {
    let source = mount.source_mut().take().map(path);
    Mount {
        destination: path(take(mount.destination_mut())),
        fstype: non_empty(mount.typ_mut().take()),
        source: source.filter(|source| !source.is_empty()),
        source_fd: None,
        from_host: false,
        keep_flags: false,
        keep_restrictions: false,
        userns_fd: None,
        from_fstab: false,
        file: None,
        options: list(mount.options_mut().take(), String::into_bytes),
        uid_mappings: list(mount.uid_mappings_mut().take(), id_mapping),
        gid_mappings: list(mount.gid_mappings_mut().take(), id_mapping),
    }
}

fn id_mapping(mapping: oci::LinuxIdMapping) -> IdMapping {
    IdMapping {
        container_id: mapping.container_id(),
        host_id: mapping.host_id(),
        count: mapping.size(),
    }
}

fn device(index: usize, mut device: oci::LinuxDevice) -> Result<Device> {
    let field = |name| format!("linux.devices[{index}].{name}");
    let kind = match device.typ() {
        oci::LinuxDeviceType::B => DeviceKind::Block,
        oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => DeviceKind::Character,
        oci::LinuxDeviceType::P => DeviceKind::Fifo,
        oci::LinuxDeviceType::A => {
            let sentence =
                "\"a\" is no type of a device node; it is one of \"b\", \"c\", \"u\" and \"p\"";
            return Err(wrong(&field("type"), sentence));
        }
    };
    Ok(Device {
        path: path(take(device.path_mut())),
        kind,
        major: number(device.major(), || field("major"))?,
        minor: number(device.minor(), || field("minor"))?,
        file_mode: device.file_mode(),
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

fn hooks(kind: HookKind, hooks: &mut oci::Hooks) -> Result<Vec<Hook>> {
    // The runtime-spec deprecates prestart hooks, but demands that runtimes run them.
    #[allow(deprecated)]
    let given = match kind {
        HookKind::Prestart => hooks.prestart_mut(),
        HookKind::CreateRuntime => hooks.create_runtime_mut(),
        HookKind::CreateContainer => hooks.create_container_mut(),
        HookKind::StartContainer => hooks.start_container_mut(),
        HookKind::Poststart => hooks.poststart_mut(),
        HookKind::Poststop => hooks.poststop_mut(),
    };
    let read = |(index, mut hook): (usize, oci::Hook)| {
        let field = || format!("hooks.{}[{index}].timeout", kind.name());
        Ok(Hook {
            path: path(take(hook.path_mut())),
            args: list(hook.args_mut().take(), String::into_bytes),
            env: list(hook.env_mut().take(), String::into_bytes),
            timeout: hook
                .timeout()
                .map(|timeout| number(timeout, field))
                .transpose()?,
        })
    };
    given
        .take()
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(read)
        .collect()
}

/// Checks the range of a number, because oci-spec's type is wider than the kernel's.
fn number(number: i64, field: impl FnOnce() -> String) -> Result<u32> {
    u32::try_from(number).map_err(|_| {
        let sentence = format!(
            "it is {number}, but must be a whole number from 0 to {}",
            u32::MAX
        );
        wrong(&field(), &sentence)
    })
}

/// The path itself, or below `base` if it is relative.
pub fn below(base: &[u8], path: Bytes) -> Bytes {
    if path.starts_with(b"/") {
        return path;
    }
    [base, b"/", &path].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        for (json, sentence) in [
            (
                r#"{"root":{"path":"r"},"mounts":[{"destination":"/a"},{"destination":5}]}"#,
                "config.json: mounts[1].destination: invalid type: integer `5`, expected a string at line 1 column 68",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[{}]}"#,
                "mounts[0]: missing field `destination`",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[7]}"#,
                "mounts[0]: invalid type: integer `7`, expected an object",
            ),
            (
                r#"{"root":{"path":"r"},"linux":{"maskedPaths":"x"}}"#,
                "linux.maskedPaths: invalid type: string \"x\", expected an array",
            ),
            (
                r#"{"root":{"path":"r"},"linux":{"devices":[{"path":"/dev/x","type":"c","major":-1}]}}"#,
                "linux.devices[0].major: it is -1, but must be a whole number",
            ),
            (
                r#"{"root":{"path":"r"},"linux":{"devices":[{"path":"/dev/x","type":"a"}]}}"#,
                "linux.devices[0].type: \"a\" is no type of a device node",
            ),
            (
                r#"{"root":{"path":"r"},"linux":{"devices":[{"path":"/dev/x","type":"\u001b"}]}}"#,
                "linux.devices[0].type: unknown variant `\\x1b`, expected one of",
            ),
            (
                r#"{"root":{"path":"r"},"linux":{"gidMappings":[{"containerID":0,"hostID":0}]}}"#,
                "linux.gidMappings[0]: missing field `size`",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[{"destination":"/a","uidMappings":[{"size":1,"hostID":0}]}]}"#,
                "mounts[0].uidMappings[0]: missing field `containerID`",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[["/a","tmpfs"]]}"#,
                "mounts[0]: invalid type: array, expected an object",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[{"destination":"/a","uidMappings":[[0,0,1]]}]}"#,
                "mounts[0].uidMappings[0]: invalid type: array, expected an object",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[],"mounts":[]}"#,
                "duplicate field `mounts`",
            ),
            (
                r#"{"root":{"path":"r"},"hooks":{"poststart":[{"path":"/x","timeout":-1}]}}"#,
                "hooks.poststart[0].timeout: it is -1, but must be a whole number",
            ),
            (
                r#"{"root":{"path":"r"},"hooks":{"poststop":[{"path":"/x"},{"args":[]}]}}"#,
                "hooks.poststop[1]: missing field `path`",
            ),
            (
                r#"{"root":{"path":"r"},"hooks":{"prestart":[{"path":"/x","env":["A=1",2]}]}}"#,
                "hooks.prestart[0].env[1]: invalid type: integer `2`, expected a string",
            ),
            (
                r#"{"root":{"path":"r"}} x"#,
                "config.json: trailing characters at line 1",
            ),
            (
                r#"{"root":{"path":"r"},}"#,
                "config.json: trailing comma at line 1 column 22",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[{"destination":"/a",}]}"#,
                "config.json: mounts[0]: trailing comma",
            ),
            (r#"{"root":"#, "config.json: root: EOF while parsing"),
            ("[]", "config.json: invalid type: array, expected an object"),
            ("{}", "config.json: root.path: it is missing"),
        ] {
            let error = parse(json.as_bytes(), b"/bundle").unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn sections_of_no_concern_may_be_wrong() {
        let json = br#"{"root":{"path":"r"},"process":{"args":7},"vm":3,
                        "linux":{"resources":"no","devices":null},"windows":5,"annotations":{"x":[]}}"#;
        assert_eq!(parse(json, b"/b").unwrap().rootfs.unwrap(), b"/b/r");
    }
}
