// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resolves paths inside a root: openat2(2) with RESOLVE_IN_ROOT. A path is resolved once, and from then on only the
//! descriptor is used.
//!
//! openat2(2) is missing before Linux 5.6, and a seccomp policy may refuse it. Then this file walks by itself. Each
//! component is opened from the descriptor of the component before it. The kernel follows no link and never sees
//! "..", so the walk only goes down from the root, however the tree changes meanwhile.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use super::fd::{DIRECTORY, open};
use super::page::{Page, Zeroable};
use super::path::{Name, PATH_MAX, PathBuf, components, split};

/// The number of links after which Linux gives up on a path: path_resolution(7).
const MAX_LINKS: usize = 40;
/// How often a look-up is tried again after a rename or a mount elsewhere disturbed it (EAGAIN in openat2(2)).
const MAX_TRIES: usize = 128;

/// A directory that no path resolved here can leave.
#[derive(Clone, Copy)]
pub struct Root<'a>(BorrowedFd<'a>);

/// A file in a root, or the root itself.
pub enum Opened<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Opened<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Opened::Root(fd) => *fd,
            Opened::Below(fd) => fd.as_fd(),
        }
    }
}

impl AsFd for Root<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0
    }
}

/// The buffers of a look-up that follows links by itself.
struct Followed {
    /// The rest of the path, kept at the end of the buffer, so that a link's target can be put before it.
    todo: [u8; 2 * PATH_MAX],
    target: [u8; PATH_MAX],
}

// SAFETY: the struct is made of bytes only.
unsafe impl Zeroable for Followed {}

impl<'a> Root<'a> {
    pub fn new(fd: BorrowedFd<'a>) -> Self {
        Root(fd)
    }

    /// Opens a path in which no component may be a symbolic link: ELOOP.
    pub fn open_plain(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        self.open_with(path, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// Opens a path and follows its links inside the root.
    pub fn open(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        self.open_with(path, flags, ResolveFlags::empty())
    }

    fn open_with(&self, path: &CStr, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        match look_up(self.0, path, flags, resolve) {
            // EPERM comes from a seccomp filter: openat2(2) itself has it only for O_NOATIME and for writing to an
            // immutable file.
            Err(Errno::NOSYS | Errno::PERM) => {
                let follows = !resolve.contains(ResolveFlags::NO_SYMLINKS);
                self.walk(path, flags, follows)
            }
            opened => opened,
        }
    }

    /// Opens what openat2(2) would open, for kernels without it.
    fn walk(&self, path: &CStr, flags: OFlags, follows: bool) -> Result<OwnedFd> {
        if !follows {
            return self.walk_plain(path, flags);
        }
        for _ in 0..MAX_TRIES {
            match self.walk_plain(self.follow(path)?.as_c_str(), flags) {
                // A link has appeared since the path was resolved.
                Err(Errno::LOOP) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Opens a path one component at a time. A link on the way is ELOOP.
    fn walk_plain(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        let mut names = components(path.to_bytes()).peekable();
        let mut dir = Opened::Root(self.0);
        while let Some(name) = names.next() {
            if name == b".." {
                return Err(Errno::XDEV);
            }
            let name = Name::new(name)?;
            let is_last = names.peek().is_none();
            let wanted = if is_last { flags } else { DIRECTORY };
            let opened = match open(dir.as_fd(), &*name, wanted | OFlags::NOFOLLOW) {
                Err(Errno::NOTDIR) if is_link_at(dir.as_fd(), &name) => return Err(Errno::LOOP),
                opened => opened?,
            };
            if is_last {
                let may_be_link = flags.contains(OFlags::NOFOLLOW) || !flags.contains(OFlags::PATH);
                if !may_be_link && is_link_itself(&opened)? {
                    return Err(Errno::LOOP);
                }
                return Ok(opened);
            }
            dir = Opened::Below(opened);
        }
        open(self.0, c".", flags)
    }

    /// The path without links that `path` leads to. Components that don't exist are taken as they are written,
    /// because the target of a dangling link is where a mount point is to be made.
    pub fn follow(&self, path: &CStr) -> Result<PathBuf> {
        let mut done = PathBuf::root()?;
        let mut room = Page::<Followed>::zeroed()?;
        let Followed { todo, target } = &mut *room;
        let mut start = todo.len();
        prepend(todo, &mut start, path.to_bytes())?;
        let mut links = 0;
        while let Some(range) = first_component(todo, start) {
            start = range.end;
            match &todo[range] {
                b"." => continue,
                b".." => {
                    done.pop();
                    continue;
                }
                name => done.push(name)?,
            }
            let Some(length) = self.read_link_at(done.as_c_str(), target)? else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = &target[..length];
            if target.starts_with(b"/") {
                done.clear();
            } else {
                done.pop();
            }
            prepend(todo, &mut start, target)?;
        }
        Ok(done)
    }

    /// Like `real_path` for the directory that a path lies in. The last component stays as it is.
    pub fn follow_directory(&self, path: &CStr) -> Result<PathBuf> {
        let (directory, name) = split(path.to_bytes());
        let mut done = self.follow(PathBuf::new(directory)?.as_c_str())?;
        done.push(name)?;
        Ok(done)
    }

    /// The length of the target of the link at a path. `None` if there is no link.
    fn read_link_at(&self, path: &CStr, target: &mut [u8; PATH_MAX]) -> Result<Option<usize>> {
        let link = match self.open_plain(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(link) => link,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        read_link(link.as_fd(), target)
    }

    /// Makes a directory and its parents where they are missing, one component at a time and never through a link.
    /// `path` has no "..". The returned bool tells whether the directory was missing.
    pub fn make_directories(&self, path: &[u8]) -> Result<(Opened<'a>, bool)> {
        let (parent, name) = split(path);
        let parent = self.open_or_make(parent)?;
        if name.is_empty() {
            return Ok((parent, false));
        }
        let (made, missing) = make_directory(parent.as_fd(), &Name::new(name)?)?;
        Ok((Opened::Below(made), missing))
    }

    /// Opens a directory, and makes it and its parents where they are missing.
    pub fn open_or_make(&self, path: &[u8]) -> Result<Opened<'a>> {
        let mut dir = Opened::Root(self.0);
        for component in components(path) {
            let name = Name::new(component)?;
            let opened = match open(dir.as_fd(), &*name, DIRECTORY | OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => make_directory(dir.as_fd(), &name)?.0,
                Err(Errno::NOTDIR) if is_link_at(dir.as_fd(), &name) => return Err(Errno::LOOP),
                opened => opened?,
            };
            dir = Opened::Below(opened);
        }
        Ok(dir)
    }

    /// Makes an empty regular file and its parents. EEXIST if anything is there already.
    pub fn make_file(&self, path: &[u8], mode: u32) -> Result<OwnedFd> {
        let (parent, name) = split(path);
        let dir = self.open_or_make(parent)?;
        make_file(dir, &Name::new(name)?, mode)
    }
}

fn make_directory(dir: impl AsFd, name: &CStr) -> Result<(OwnedFd, bool)> {
    let missing = match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno),
    };
    match open(&dir, name, DIRECTORY | OFlags::NOFOLLOW) {
        Err(Errno::NOTDIR) if is_link_at(dir.as_fd(), name) => Err(Errno::LOOP),
        opened => Ok((opened?, missing)),
    }
}

/// Makes an empty regular file in a directory. EEXIST if anything is there already.
pub fn make_file(dir: impl AsFd, name: &CStr, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))
}

fn is_link_at(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    let there = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    there.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Symlink)
}

/// Opens what is mounted on a directory. At the root of a look-up ".." leads to the root itself, and so to the
/// topmost mount on it.
pub fn mounted_on(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    look_up(directory, c"..", DIRECTORY, ResolveFlags::IN_ROOT)
}

/// Calls openat2(2), again if a rename or a mount elsewhere disturbed it.
fn look_up(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < MAX_TRIES => tries += 1,
            opened => return opened,
        }
    }
}

/// The length of a link's target. `None` if the descriptor is not a link's.
pub fn read_link(link: BorrowedFd<'_>, target: &mut [u8; PATH_MAX]) -> Result<Option<usize>> {
    match rustix::fs::readlinkat_raw(link, c"", &mut target[..]) {
        Ok(PATH_MAX) => Err(Errno::NAMETOOLONG),
        Ok(length) => Ok(Some(length)),
        // readlinkat(2) on a file that is no link fails with ENOENT if the path is empty, and with EINVAL otherwise.
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The kind of file that a descriptor opened with O_PATH and O_NOFOLLOW refers to.
fn is_link_itself(fd: &OwnedFd) -> Result<bool> {
    let status = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Symlink)
}

/// The range of the first component at or after `start`.
fn first_component(buffer: &[u8], start: usize) -> Option<core::ops::Range<usize>> {
    let begin = start + buffer[start..].iter().position(|&b| b != b'/')?;
    let length = buffer[begin..].iter().position(|&b| b == b'/');
    Some(begin..length.map_or(buffer.len(), |length| begin + length))
}

/// Puts a path and a slash before the rest of the path, which starts at `start`.
fn prepend(buffer: &mut [u8], start: &mut usize, path: &[u8]) -> Result<()> {
    let begin = start
        .checked_sub(path.len() + 1)
        .ok_or(Errno::NAMETOOLONG)?;
    buffer[begin..begin + path.len()].copy_from_slice(path);
    buffer[begin + path.len()] = b'/';
    *start = begin;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn with_tree(test: impl FnOnce(&std::path::Path, Root<'_>)) {
        let dir = std::env::temp_dir().join(format!(
            "rfs-resolve-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        let file = std::fs::File::open(&dir).unwrap();
        test(&dir, Root::new(file.as_fd()));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn links_are_followed_inside_the_root_even_to_nothing() {
        with_tree(|dir, root| {
            symlink("/a", dir.join("absolute")).unwrap();
            symlink("../../../../a/./b/", dir.join("a/climbing")).unwrap();
            symlink("/nowhere/../x/y", dir.join("dangling")).unwrap();
            symlink("loop", dir.join("loop")).unwrap();
            symlink("/", dir.join("top")).unwrap();
            let follow = |path| root.follow(path).map(|path| path.as_c_str().to_owned());
            assert_eq!(follow(c"/absolute/b").unwrap().as_c_str(), c"/a/b");
            assert_eq!(follow(c"/a/climbing/z").unwrap().as_c_str(), c"/a/b/z");
            assert_eq!(follow(c"/dangling/z").unwrap().as_c_str(), c"/x/y/z");
            assert_eq!(follow(c"/a/../../..").unwrap().as_c_str(), c"/");
            assert_eq!(follow(c"/top").unwrap().as_c_str(), c"/");
            assert_eq!(follow(c"/loop/z").unwrap_err(), Errno::LOOP);
        });
    }

    /// A descriptor's path, or why there is none.
    fn seen(opened: Result<OwnedFd>) -> std::result::Result<std::path::PathBuf, Errno> {
        let opened = opened?;
        let path = super::super::path::of_descriptor(&opened);
        Ok(std::fs::read_link(path.to_str().unwrap()).unwrap())
    }

    #[test]
    fn a_walk_opens_what_openat2_opens() {
        with_tree(|dir, root| {
            std::fs::write(dir.join("a/file"), "").unwrap();
            symlink("/a", dir.join("absolute")).unwrap();
            symlink("../../../a/b", dir.join("a/climbing")).unwrap();
            symlink("/nowhere/x", dir.join("dangling")).unwrap();
            symlink("loop", dir.join("loop")).unwrap();
            symlink("/", dir.join("top")).unwrap();
            symlink("a/file", dir.join("to-file")).unwrap();
            let path_only = OFlags::PATH | OFlags::CLOEXEC;
            let all_flags = [
                path_only,
                path_only | OFlags::DIRECTORY,
                path_only | OFlags::NOFOLLOW,
                OFlags::RDONLY | OFlags::CLOEXEC,
            ];
            let paths = [
                c"/",
                c"/a",
                c"/a/file",
                c"/a/file/x",
                c"/a/./b/",
                c"/absolute",
                c"/absolute/b",
                c"/a/climbing",
                c"/dangling",
                c"/loop",
                c"/loop/z",
                c"/top",
                c"/top/top/a",
                c"/missing",
                c"/missing/x",
                c"/to-file",
                c"/to-file/x",
            ];
            for path in paths {
                for flags in all_flags {
                    let plain = root.walk(path, flags, false);
                    assert_eq!(
                        seen(plain),
                        seen(root.open_plain(path, flags)),
                        "{path:?} {flags:?}"
                    );
                    // Only open_plain() opens links themselves.
                    if !flags.contains(OFlags::NOFOLLOW) {
                        let followed = root.walk(path, flags, true);
                        assert_eq!(
                            seen(followed),
                            seen(root.open(path, flags)),
                            "{path:?} {flags:?}"
                        );
                    }
                }
            }
            assert_eq!(
                seen(root.walk(c"/a/../..", path_only, false)),
                Err(Errno::XDEV)
            );
        });
    }

    #[test]
    fn directories_are_never_made_through_a_link() {
        with_tree(|dir, root| {
            symlink("/tmp", dir.join("out")).unwrap();
            assert_eq!(root.make_directories(b"/out/x").err(), Some(Errno::LOOP));
            root.make_directories(b"/a/c/d").unwrap();
            assert!(dir.join("a/c/d").is_dir());
            root.make_file(b"/a/e/file", 0o644).unwrap();
            assert!(dir.join("a/e/file").is_file());
            assert_eq!(
                root.make_file(b"/a/e/file", 0o644).err(),
                Some(Errno::EXIST)
            );
            assert_eq!(
                root.make_directories(b"/a/e/file/x").err(),
                Some(Errno::NOTDIR)
            );
        });
    }
}
