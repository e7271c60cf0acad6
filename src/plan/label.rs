// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans the SELinux label of a mount: a parameter of a new superblock, or an attribute of a bind's files.

use std::ffi::{CStr, CString};

use rustix::io::Errno;

use super::{Parameter, mounts, paths};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::text::{Escaped, Quoted};

/// The parameters that give a superblock its label: mount(8), selinux_fs_parameters[] in security/selinux/hooks.c.
const KEYS: [&CStr; 4] = [c"context", c"fscontext", c"defcontext", c"rootcontext"];
const FIELD: &str = "linux.mountLabel";

/// The directories that go-selinux's label.Relabel() refuses to relabel, because the host needs the labels of the
/// files there. Home directories are not among them: go-selinux finds those by environment variables, which this
/// library does not read.
pub const NEVER_RELABELLED: [&CStr; 24] = [
    c"/",
    c"/bin",
    c"/boot",
    c"/dev",
    c"/etc",
    c"/etc/passwd",
    c"/etc/pki",
    c"/etc/shadow",
    c"/home",
    c"/lib",
    c"/lib64",
    c"/media",
    c"/opt",
    c"/proc",
    c"/root",
    c"/run",
    c"/sbin",
    c"/srv",
    c"/sys",
    c"/tmp",
    c"/usr",
    c"/var",
    c"/var/lib",
    c"/var/log",
];

fn given(config: &Config) -> Option<&[u8]> {
    let label = config.mount_label.as_deref();
    label.filter(|label| !label.is_empty())
}

/// The parameter that labels a new superblock. `None` if there is no label.
pub fn parameter(config: &Config) -> Result<Option<Parameter>> {
    let key = match config.mount_context_type.as_deref() {
        None => KEYS[0],
        Some(name) => KEYS
            .into_iter()
            .find(|key| key.to_bytes() == name)
            .ok_or_else(|| {
                Error::invalid(format_args!(
                    "mount_context_type (run.oci.mount_context_type): {} is none of context, fscontext, \
                     defcontext and rootcontext",
                    Quoted(name)
                ))
            })?,
    };
    let Some(label) = given(config) else {
        return Ok(None);
    };
    mounts::check_length(FIELD, label)?;
    Ok(Some(Parameter {
        key: key.to_owned(),
        value: Some(paths::c_string(FIELD, label)?),
    }))
}

pub fn is_label(key: &[u8]) -> bool {
    KEYS.iter().any(|known| known.to_bytes() == key)
}

/// The label of an inode that gets it as an attribute.
pub fn of_file(config: &Config) -> Result<Option<CString>> {
    given(config)
        .map(|label| paths::c_string(FIELD, label))
        .transpose()
}

/// The label that a bind's files get. `None` if there is none.
pub fn of_bind(config: &Config, source: Option<&CStr>, shared: bool) -> Result<Option<CString>> {
    let Some(label) = given(config) else {
        return Ok(None);
    };
    let cleaned = source.map(|source| paths::clean(source.to_bytes()));
    let is_refused = |path: &Vec<u8>| NEVER_RELABELLED.iter().any(|it| it.to_bytes() == path);
    if let Some(path) = cleaned.filter(is_refused) {
        return Err(refused(&path));
    }
    if !shared {
        return of_file(config);
    }
    paths::c_string(FIELD, without_categories(label)?).map(Some)
}

pub fn refused(path: &[u8]) -> Error {
    Error::check(
        Errno::PERM,
        format_args!(
            "options: \"z\" and \"Z\" can't relabel {}: the host needs the labels there",
            Escaped(path)
        ),
    )
}

/// The label USER:ROLE:TYPE[:LEVEL] with the level s0, which every container may use.
fn without_categories(label: &[u8]) -> Result<Vec<u8>> {
    let mut parts = label.splitn(4, |&b| b == b':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(user), Some(role), Some(kind)) => Ok([user, role, kind, b"s0"].join(&b':')),
        _ => Err(Error::invalid(format_args!(
            "{FIELD}: {} is no USER:ROLE:TYPE:LEVEL, whose level \"z\" would replace",
            Quoted(label)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::{Kind, Plan};

    const LABEL: &[u8] = b"system_u:object_r:container_file_t:s0:c1,c2";

    fn config(mounts: &[(&str, &str, &[&str])]) -> Config {
        let mut config = Config::new(Some(b"/r".to_vec()));
        config.mount_label = Some(LABEL.to_vec());
        config.mounts = mounts
            .iter()
            .map(|(fstype, source, options)| config::Mount {
                destination: b"/m".to_vec(),
                fstype: Some(fstype.as_bytes().to_vec()),
                source: Some(source.as_bytes().to_vec()),
                options: options.iter().map(|it| it.as_bytes().to_vec()).collect(),
                ..config::Mount::default()
            })
            .collect();
        config
    }

    fn labels(parameters: &[Parameter]) -> Vec<String> {
        let labels = parameters
            .iter()
            .filter(|it| is_label(it.key.to_bytes()))
            .map(|it| (it.key.to_str(), it.value.as_deref().unwrap().to_str()));
        labels
            .map(|(key, value)| format!("{}={}", key.unwrap(), value.unwrap()))
            .collect()
    }

    #[test]
    fn levels_are_replaced_whole() {
        for (label, shared) in [
            ("u:r:t:s0:c1,c2", "u:r:t:s0"),
            ("u:r:t:s0-s15:c0.c1023", "u:r:t:s0"),
            ("u:r:t", "u:r:t:s0"),
            ("u:r:t:", "u:r:t:s0"),
        ] {
            let made = without_categories(label.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(made).unwrap(), shared);
        }
        assert!(without_categories(b"u:r").is_err());
    }

    #[test]
    fn a_label_is_composed_once_under_the_chosen_key() {
        let own = r#"rootcontext="u:r:t:s0:c3,c4""#;
        let mut config = config(&[
            ("tmpfs", "t", &["size=1m"]),
            ("tmpfs", "t", &[own]),
            ("cgroup", "c", &[]),
            ("proc", "p", &[]),
        ]);
        config.mounts[3].destination = b"/proc".to_vec();
        config.mount_context_type = Some(b"fscontext".to_vec());
        let whole = format!("fscontext={}", str::from_utf8(LABEL).unwrap());
        let plan = Plan::new(&config).unwrap();
        let of_mounts = plan.mounts.iter().map(|mount| match &mount.kind {
            Kind::Filesystem(it) => labels(&it.parameters),
            Kind::Cgroup(it) => {
                [labels(&it.unified.parameters), labels(&it.tmpfs.parameters)].concat()
            }
            Kind::Bind(_) | Kind::Remount(_) | Kind::Make(_) => vec![],
        });
        let expected = [
            vec![&whole[..]],
            vec!["rootcontext=u:r:t:s0:c3,c4"],
            vec![&whole],
            vec![],
        ];
        assert_eq!(of_mounts.collect::<Vec<_>>(), expected);
        assert_eq!(labels(&plan.empty[0].parameters), [whole]);
    }

    #[test]
    fn what_can_not_be_labelled_is_refused() {
        for (mount, sentence) in [
            (("bind", "/x", &["z", "Z"][..]), "exclude each other"),
            (("tmpfs", "x", &["z"]), "are for binds"),
            (("bind", "//etc/./", &["Z"]), "can't relabel /etc:"),
            (("bind", "/x/..", &["z"]), "can't relabel /:"),
            (
                ("bind", "/var/lib/../lib", &["z"]),
                "can't relabel /var/lib:",
            ),
        ] {
            let error = Plan::new(&config(&[mount])).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
        let mut bad = config(&[]);
        bad.mount_context_type = Some(b"seclabel".to_vec());
        let error = Plan::new(&bad).unwrap_err().to_string();
        assert!(
            error.contains("\"seclabel\" is none of context,"),
            "{error}"
        );
        bad = config(&[]);
        bad.mount_label = Some(vec![b'x'; 256]);
        assert_eq!(Plan::new(&bad).unwrap_err().errno, Errno::TOOBIG);
    }

    #[test]
    fn without_a_label_nothing_is_relabelled_but_it_is_said() {
        let mut config = config(&[("bind", "/etc", &["Z"]), ("mqueue", "m", &[])]);
        config.mount_label = Some(vec![]);
        let plan = Plan::new(&config).unwrap();
        assert!(matches!(&plan.mounts[0].kind, Kind::Bind(it) if it.relabel.is_none()));
        assert!(matches!(&plan.mounts[1].kind, Kind::Filesystem(it) if it.root_label.is_none()));
        assert!(
            plan.warnings[0]
                .to_string_lossy()
                .contains("without a mount label"),
            "{:?}",
            plan.warnings
        );
    }
}
