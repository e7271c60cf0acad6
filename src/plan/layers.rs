// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives an overlay's lower directories one by one, as "lowerdir+" and "datadir+" of fsconfig(2) since Linux 6.8:
//! Documentation/filesystems/overlayfs.rst. Then the limit of a value holds for each directory, and the names have no
//! escapes.

use core::ffi::CStr;
use std::ffi::CString;

use super::Parameter;

const LOWERDIR: &CStr = c"lowerdir";

/// The parameters with the directories of "lowerdir" one by one. `None` if there is no such list, or if the kernel
/// refuses it: then the kernel gets the list as it is, so that its message tells the reason.
pub fn one_by_one(parameters: &[Parameter]) -> Option<Vec<Parameter>> {
    let is_list = |it: &Parameter| it.key.as_c_str() == LOWERDIR;
    let position = parameters.iter().position(is_list)?;
    let (before, [list, after @ ..]) = parameters.split_at(position) else {
        return None;
    };
    if after.iter().any(is_list) {
        return None;
    }
    let layers = split(list.value.as_deref()?.to_bytes())?;
    let mut all = before.to_vec();
    all.extend(layers);
    all.extend_from_slice(after);
    Some(all)
}

/// The kernel has these rules in ovl_parse_param_lowerdir() in fs/overlayfs/params.c. ":" separates the directories.
/// "::" comes before each directory that holds only data, and these come last. After a backslash the next byte has no
/// special meaning.
fn split(list: &[u8]) -> Option<Vec<Parameter>> {
    let mut layers = Vec::new();
    let (mut path, mut is_data) = (Vec::new(), false);
    let mut bytes = list.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => path.push(bytes.next()?),
            b':' => {
                layers.push(layer(&mut path, is_data)?);
                let comes_data = bytes.next_if_eq(&b':').is_some();
                if is_data && !comes_data {
                    return None;
                }
                is_data = comes_data;
            }
            _ => path.push(byte),
        }
    }
    layers.push(layer(&mut path, is_data)?);
    Some(layers)
}

fn layer(path: &mut Vec<u8>, is_data: bool) -> Option<Parameter> {
    let key = if is_data { c"datadir+" } else { c"lowerdir+" };
    let path = Some(core::mem::take(path)).filter(|path| !path.is_empty())?;
    Some(Parameter {
        key: key.to_owned(),
        value: Some(CString::new(path).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(list: &str) -> Option<Vec<String>> {
        let layers = split(list.as_bytes())?.into_iter();
        let shown = layers.map(|it| {
            let value = it.value.unwrap().into_string().unwrap();
            format!("{}={value}", it.key.to_str().unwrap())
        });
        Some(shown.collect())
    }

    #[test]
    fn a_list_is_split_as_the_kernel_does() {
        let expected = |layers: &[&str]| Some(layers.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(split_of("/a"), expected(&["lowerdir+=/a"]));
        assert_eq!(
            split_of(r"/a\:b\,c\\:/d\e"),
            expected(&[r"lowerdir+=/a:b,c\", "lowerdir+=/de"])
        );
        assert_eq!(
            split_of(r"/a\\\:/b:c::/d::/e"),
            expected(&[
                r"lowerdir+=/a\:/b",
                "lowerdir+=c",
                "datadir+=/d",
                "datadir+=/e"
            ])
        );
    }

    #[test]
    fn what_the_kernel_refuses_is_left_to_it() {
        for list in [
            "",
            ":/a",
            "/a:",
            "/a::",
            "/a:::/b",
            "/a::/b:/c",
            r"/a\",
            "::/a",
        ] {
            assert_eq!(split_of(list), None, "{list}");
        }
    }

    #[test]
    fn other_parameters_keep_their_places() {
        let parameter = |key: &CStr, value: &CStr| Parameter {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        };
        let given = [
            parameter(c"index", c"on"),
            parameter(LOWERDIR, c"/a:/b"),
            parameter(c"upperdir", c"/c"),
        ];
        let keys = |all: Vec<Parameter>| all.into_iter().map(|it| it.key).collect::<Vec<_>>();
        assert_eq!(
            keys(one_by_one(&given).unwrap()),
            [c"index", c"lowerdir+", c"lowerdir+", c"upperdir"].map(CStr::to_owned)
        );
        assert!(one_by_one(&given[2..]).is_none());
        let twice = [parameter(LOWERDIR, c"/a"), parameter(LOWERDIR, c"/b")];
        assert!(one_by_one(&twice).is_none());
    }
}
