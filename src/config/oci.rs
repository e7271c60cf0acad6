//! config.json of the OCI runtime-spec. Only the sections that concern the file system are looked
//! at: a mistake elsewhere is none of our business.

use serde_json::Value;

use super::{Bytes, Config, Device, DeviceKind, Hook, HookKind, IdMapping, Mount};
use crate::error::{Error, Result, Stage};
use crate::text::Quoted;

/// Reads the configuration of a bundle, whose absolute path relative ones are taken from.
pub fn parse(json: &[u8], bundle: &[u8]) -> Result<Config> {
    read(json, bundle).map_err(|error| error.at(Stage::Config))
}

fn read(json: &[u8], bundle: &[u8]) -> Result<Config> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| Error::invalid(format_args!("config.json: {error}")))?;
    let spec = Node::top(&value);
    if !bundle.starts_with(b"/") {
        return Err(Error::invalid(format_args!(
            "the bundle's path {} is not absolute; give what realpath(3) makes of it",
            Quoted(bundle)
        )));
    }
    let root = spec.field("root")?;
    let rootfs = below(bundle, root.field("path")?.string()?.unwrap_or_default());
    if root
        .field("path")?
        .string()?
        .is_none_or(|path| path.is_empty())
    {
        return Err(root
            .field("path")?
            .error("it is missing or empty; it names the rootfs"));
    }
    let mut config = Config::new(Some(rootfs));
    config.bundle = Some(bundle.to_vec());
    config.readonly_rootfs = root.field("readonly")?.boolean()?;
    config.mounts = spec.field("mounts")?.list(mount)?;
    let process = spec.field("process")?;
    config.cwd = process.field("cwd")?.string()?;
    if let Some(umask) = process.field("user")?.field("umask")?.number()? {
        config.umask = umask;
    }
    let linux = spec.field("linux")?;
    let namespaces = linux
        .field("namespaces")?
        .list(|namespace| namespace.field("type")?.required_string())?;
    let has = |kind: &str| {
        namespaces
            .iter()
            .any(|namespace| namespace == kind.as_bytes())
    };
    config.mount_namespace = has("mount");
    config.user_namespace = has("user");
    config.cgroup_namespace = has("cgroup");
    config.uid_mappings = linux.field("uidMappings")?.list(id_mapping)?;
    config.gid_mappings = linux.field("gidMappings")?.list(id_mapping)?;
    config.devices = linux.field("devices")?.list(device)?;
    config.masked_paths = linux
        .field("maskedPaths")?
        .list(|path| path.required_string())?;
    config.readonly_paths = linux
        .field("readonlyPaths")?
        .list(|path| path.required_string())?;
    config.rootfs_propagation = linux.field("rootfsPropagation")?.non_empty()?;
    config.mount_label = linux.field("mountLabel")?.non_empty()?;
    config.mount_context_type = spec
        .field("annotations")?
        .field("run.oci.mount_context_type")?
        .non_empty()?;
    let hooks = spec.field("hooks")?;
    for kind in HookKind::ALL {
        config.hooks[kind as usize] = hooks.field(kind.name())?.list(hook)?;
    }
    Ok(config)
}

fn mount(mount: &Node<'_>) -> Result<Mount> {
    Ok(Mount {
        destination: mount.field("destination")?.required_string()?,
        fstype: mount.field("type")?.non_empty()?,
        source: mount.field("source")?.non_empty()?,
        source_fd: None,
        options: mount
            .field("options")?
            .list(|option| option.required_string())?,
        uid_mappings: mount.field("uidMappings")?.list(id_mapping)?,
        gid_mappings: mount.field("gidMappings")?.list(id_mapping)?,
    })
}

fn id_mapping(mapping: &Node<'_>) -> Result<IdMapping> {
    Ok(IdMapping {
        container_id: mapping.field("containerID")?.required_number()?,
        host_id: mapping.field("hostID")?.required_number()?,
        count: mapping.field("size")?.required_number()?,
    })
}

fn device(device: &Node<'_>) -> Result<Device> {
    let kind = device.field("type")?;
    let kind = match kind.required_string()?.as_slice() {
        b"b" => DeviceKind::Block,
        b"c" | b"u" => DeviceKind::Character,
        b"p" => DeviceKind::Fifo,
        other => {
            return Err(kind.error(format_args!(
                "{} is no type of a device node; it is one of \"b\", \"c\", \"u\" and \"p\"",
                Quoted(other)
            )));
        }
    };
    Ok(Device {
        path: device.field("path")?.required_string()?,
        kind,
        major: device.field("major")?.number()?.unwrap_or(0),
        minor: device.field("minor")?.number()?.unwrap_or(0),
        file_mode: device.field("fileMode")?.number()?,
        uid: device.field("uid")?.number()?.unwrap_or(0),
        gid: device.field("gid")?.number()?.unwrap_or(0),
    })
}

fn hook(hook: &Node<'_>) -> Result<Hook> {
    Ok(Hook {
        path: hook.field("path")?.required_string()?,
        args: hook.field("args")?.list(|arg| arg.required_string())?,
        env: hook
            .field("env")?
            .list(|variable| variable.required_string())?,
        timeout: hook.field("timeout")?.number()?,
    })
}

/// A path, taken from `base` if it is relative.
pub fn below(base: &[u8], path: Bytes) -> Bytes {
    if path.starts_with(b"/") {
        return path;
    }
    [base, b"/", &path].concat()
}

/// A value and where it stands. What is missing, and null, is `None`.
struct Node<'a> {
    value: Option<&'a Value>,
    parent: Option<&'a Node<'a>>,
    step: Step<'a>,
}

/// From a value to one in it.
enum Step<'a> {
    Top,
    Field(&'a str),
    Index(usize),
}

/// The names and indices that lead to it.
impl core::fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Top => Ok(()),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Field(name) => {
                let is_first = self
                    .parent
                    .is_none_or(|parent| matches!(parent.step, Step::Top));
                write!(f, "{}{name}", if is_first { "" } else { "." })
            }
        }
    }
}

impl<'a> Node<'a> {
    fn top(value: &'a Value) -> Self {
        Node {
            value: Some(value).filter(|value| !value.is_null()),
            parent: None,
            step: Step::Top,
        }
    }

    fn child<'s>(&'s self, value: Option<&'s Value>, step: Step<'s>) -> Node<'s> {
        Node {
            value: value.filter(|value| !value.is_null()),
            parent: Some(self),
            step,
        }
    }

    fn field<'s>(&'s self, name: &'s str) -> Result<Node<'s>> {
        let value = match self.value {
            None => None,
            Some(Value::Object(fields)) => fields.get(name),
            Some(other) => return Err(self.wrong_type(other, "an object")),
        };
        Ok(self.child(value, Step::Field(name)))
    }

    fn error(&self, sentence: impl core::fmt::Display) -> Error {
        let separator = if matches!(self.step, Step::Top) {
            ""
        } else {
            ": "
        };
        Error::invalid(format_args!("config.json: {self}{separator}{sentence}"))
    }

    fn wrong_type(&self, value: &Value, wanted: &str) -> Error {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.error(format_args!("it is {found}, but must be {wanted}"))
    }

    fn string(&self) -> Result<Option<Bytes>> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_bytes().to_vec())),
            Some(other) => Err(self.wrong_type(other, "a string")),
        }
    }

    fn non_empty(&self) -> Result<Option<Bytes>> {
        Ok(self.string()?.filter(|text| !text.is_empty()))
    }

    fn required_string(&self) -> Result<Bytes> {
        self.string()?.ok_or_else(|| self.error("it is missing"))
    }

    fn boolean(&self) -> Result<bool> {
        match self.value {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.wrong_type(other, "a boolean")),
        }
    }

    /// Every number of the spec that is read here fits 32 bits without a sign.
    fn number(&self) -> Result<Option<u32>> {
        match self.value {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let fits = number
                    .as_u64()
                    .and_then(|number| u32::try_from(number).ok());
                fits.map(Some).ok_or_else(|| {
                    self.error(format_args!(
                        "it must be a whole number from 0 to {}",
                        u32::MAX
                    ))
                })
            }
            Some(other) => Err(self.wrong_type(other, "a number")),
        }
    }

    fn required_number(&self) -> Result<u32> {
        self.number()?.ok_or_else(|| self.error("it is missing"))
    }

    fn list<T>(&self, read: impl Fn(&Node<'_>) -> Result<T>) -> Result<Vec<T>> {
        let values = match self.value {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(other) => return Err(self.wrong_type(other, "an array")),
        };
        let mut list = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            list.push(read(&self.child(Some(value), Step::Index(index)))?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        for (json, sentence) in [
            (
                r#"{"root":{"path":"r"},"mounts":[{"destination":"/a"},{"destination":5}]}"#,
                "mounts[1].destination: it is a number, but must be a string",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[{}]}"#,
                "mounts[0].destination: it is missing",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[7]}"#,
                "mounts[0]: it is a number, but must be an object",
            ),
            (
                r#"{"root":{"path":"r"},"linux":{"maskedPaths":"x"}}"#,
                "linux.maskedPaths: it is a string",
            ),
            (
                r#"{"root":{"path":"r"},"linux":{"devices":[{"path":"/dev/x","type":"c","major":-1}]}}"#,
                "linux.devices[0].major: it must be a whole number",
            ),
            (
                r#"{"root":{"path":"r"},"hooks":{"poststop":[{"path":"/x"},{"args":[]}]}}"#,
                "hooks.poststop[1].path: it is missing",
            ),
            (
                r#"{"root":{"path":"r"},"hooks":{"prestart":[{"path":"/x","env":["A=1",2]}]}}"#,
                "hooks.prestart[0].env[1]: it is a number, but must be a string",
            ),
            (
                r#"{"root":{"path":"r"}} x"#,
                "config.json: trailing characters at line 1",
            ),
            (r#"{"root":"#, "config.json: EOF while parsing"),
            ("[]", "config.json: it is an array, but must be an object"),
            ("{}", "root.path: it is missing"),
        ] {
            let error = parse(json.as_bytes(), b"/bundle").unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn sections_of_no_concern_may_be_wrong() {
        let json = br#"{"root":{"path":"r"},"process":{"args":7},"vm":3,
                        "linux":{"resources":"no","devices":null},"windows":5}"#;
        assert_eq!(parse(json, b"/b").unwrap().rootfs.unwrap(), b"/b/r");
    }

    /// The types of the spec's own crate read the same from the same text.
    #[test]
    fn agrees_with_oci_spec() {
        let json = br#"{"ociVersion":"1.2.0","root":{"path":"/r","readonly":true},
            "mounts":[{"destination":"/a","type":"bind","source":"/s","options":["rbind","ro"],
                       "uidMappings":[{"containerID":1,"hostID":2,"size":3}],
                       "gidMappings":[{"containerID":4,"hostID":5,"size":6}]},
                      {"destination":"/b"}],
            "process":{"cwd":"/w","args":["x"],"user":{"uid":0,"gid":0,"umask":18}},
            "linux":{"namespaces":[{"type":"mount"},{"type":"cgroup","path":"/x"}],
                     "devices":[{"path":"/dev/f","type":"u","major":10,"minor":229,"fileMode":438,"uid":1,"gid":2}],
                     "maskedPaths":["/m"],"readonlyPaths":["/o"],
                     "rootfsPropagation":"rshared","mountLabel":"l"},
            "hooks":{"createRuntime":[{"path":"/h","args":["h","-x"],"env":["A=b"],"timeout":3}],
                     "poststop":[{"path":"/first"},{"path":"/second"}]}}"#;
        let ours = parse(json, b"/bundle").unwrap();
        let spec: oci_spec::runtime::Spec = serde_json::from_slice(json).unwrap();
        let text =
            |bytes: &Option<Bytes>| bytes.clone().map(|bytes| String::from_utf8(bytes).unwrap());
        let root = spec.root().as_ref().unwrap();
        assert_eq!(text(&ours.rootfs).unwrap(), root.path().to_str().unwrap());
        assert_eq!(Some(ours.readonly_rootfs), root.readonly());
        for (ours, theirs) in ours.mounts.iter().zip(spec.mounts().as_ref().unwrap()) {
            assert_eq!(
                text(&Some(ours.destination.clone())).as_deref(),
                theirs.destination().to_str()
            );
            assert_eq!(text(&ours.fstype), *theirs.typ());
            assert_eq!(
                text(&ours.source).as_deref(),
                theirs.source().as_ref().and_then(|s| s.to_str())
            );
            let options = theirs
                .options()
                .iter()
                .flatten()
                .map(|o| o.clone().into_bytes());
            assert_eq!(ours.options, options.collect::<Vec<_>>());
            let mapping = |m: &IdMapping| (m.container_id, m.host_id, m.count);
            for (ours, theirs) in [
                (&ours.uid_mappings, theirs.uid_mappings()),
                (&ours.gid_mappings, theirs.gid_mappings()),
            ] {
                let theirs = theirs
                    .iter()
                    .flatten()
                    .map(|m| (m.container_id(), m.host_id(), m.size()));
                assert_eq!(
                    ours.iter().map(mapping).collect::<Vec<_>>(),
                    theirs.collect::<Vec<_>>()
                );
            }
        }
        let process = spec.process().as_ref().unwrap();
        assert_eq!(text(&ours.cwd).as_deref(), process.cwd().to_str());
        assert_eq!(Some(ours.umask), process.user().umask());
        let linux = spec.linux().as_ref().unwrap();
        let (device, theirs) = (&ours.devices[0], &linux.devices().as_ref().unwrap()[0]);
        assert_eq!(
            (i64::from(device.major), i64::from(device.minor)),
            (theirs.major(), theirs.minor())
        );
        assert_eq!(
            (device.file_mode, Some(device.uid), Some(device.gid)),
            (theirs.file_mode(), theirs.uid(), theirs.gid())
        );
        let list = |bytes: &[Bytes]| {
            Some(
                bytes
                    .iter()
                    .map(|b| String::from_utf8(b.clone()).unwrap())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(list(&ours.masked_paths), *linux.masked_paths());
        assert_eq!(list(&ours.readonly_paths), *linux.readonly_paths());
        assert_eq!(text(&ours.rootfs_propagation), *linux.rootfs_propagation());
        assert_eq!(text(&ours.mount_label), *linux.mount_label());
        let hooks = spec.hooks().as_ref().unwrap();
        for (kind, theirs) in [
            (HookKind::CreateRuntime, hooks.create_runtime()),
            (HookKind::Poststop, hooks.poststop()),
        ] {
            let (ours, theirs) = (&ours.hooks[kind as usize], theirs.as_ref().unwrap());
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_eq!(
                    text(&Some(ours.path.clone())).as_deref(),
                    theirs.path().to_str()
                );
                assert_eq!(
                    list(&ours.args).unwrap(),
                    theirs.args().clone().unwrap_or_default()
                );
                assert_eq!(
                    list(&ours.env).unwrap(),
                    theirs.env().clone().unwrap_or_default()
                );
                assert_eq!(ours.timeout.map(i64::from), theirs.timeout());
            }
        }
        assert!(ours.mount_namespace && ours.cgroup_namespace && !ours.user_namespace);
    }
}
