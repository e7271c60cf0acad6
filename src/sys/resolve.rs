//! Paths inside a root: openat2(2) with RESOLVE_IN_ROOT. A path is resolved once; from then on
//! only the descriptor counts.
//!
//! Where that call is missing (before Linux 5.6) or refused (seccomp), each component is opened in turn from
//! the descriptor of the one before, no link is left to the kernel, and its ".." is never used: however the tree
//! changes meanwhile, the walk only goes down from the root.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use super::fd::{Fd, Fds};
use super::path::{PATH_MAX, PathBuf, components};

/// Linux gives up on a path after as many links: path_resolution(7).
const MAX_LINKS: usize = 40;
/// How often a look-up is tried again that a rename or mount elsewhere disturbed (EAGAIN, openat2(2)).
const MAX_TRIES: usize = 128;

pub(super) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory that nothing resolved here can leave.
#[derive(Clone, Copy)]
pub struct Root<'a> {
    fd: BorrowedFd<'a>,
    fds: &'a Fds,
}

impl<'a> Root<'a> {
    pub fn new(fd: BorrowedFd<'a>, fds: &'a Fds) -> Self {
        Root { fd, fds }
    }

    pub fn as_fd(&self) -> BorrowedFd<'a> {
        self.fd
    }

    /// Where the descriptors opened here go to be closed.
    pub fn fds(&self) -> &'a Fds {
        self.fds
    }

    /// Opens a path in which no component may be a symbolic link: ELOOP.
    pub fn open_plain(&self, path: &CStr, flags: OFlags) -> Result<Fd<'a>> {
        self.open_at(self.fd, path, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// Opens a path whose links are followed inside the root.
    pub fn open(&self, path: &CStr, flags: OFlags) -> Result<Fd<'a>> {
        self.open_at(self.fd, path, flags, ResolveFlags::empty())
    }

    fn open_at(
        &self,
        dir: BorrowedFd<'_>,
        path: &CStr,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Result<Fd<'a>> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(self.fds.own(fd)),
                Err(Errno::AGAIN | Errno::INTR) if tries < MAX_TRIES => tries += 1,
                // EPERM is a filter's: openat2(2) has it only for O_NOATIME and for writing to what is immutable.
                Err(Errno::NOSYS | Errno::PERM) => {
                    let follows = !resolve.contains(ResolveFlags::NO_SYMLINKS);
                    return self.walk(path, flags, follows);
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// What openat2(2) would open.
    fn walk(&self, path: &CStr, flags: OFlags, follows: bool) -> Result<Fd<'a>> {
        if !follows {
            return self.walk_plain(path, flags);
        }
        for _ in 0..MAX_TRIES {
            match self.walk_plain(self.follow(path)?.as_c_str(), flags) {
                // A link has appeared since.
                Err(Errno::LOOP) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// With no link on the way.
    fn walk_plain(&self, path: &CStr, flags: OFlags) -> Result<Fd<'a>> {
        let mut names = components(path.to_bytes()).peekable();
        let mut dir = Directory::Root(self.fd);
        while let Some(name) = names.next() {
            if name == b".." {
                return Err(Errno::XDEV);
            }
            let is_last = names.peek().is_none();
            let wanted = if is_last { flags } else { DIRECTORY };
            let is_link = || {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let there = rustix::fs::statat(dir.as_fd(), name, flags);
                there.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Symlink)
            };
            let opened =
                rustix::fs::openat(dir.as_fd(), name, wanted | OFlags::NOFOLLOW, Mode::empty());
            let opened = match opened {
                Err(Errno::NOTDIR) if is_link() => return Err(Errno::LOOP),
                opened => self.fds.own(opened?),
            };
            if is_last {
                let may_be_link = flags.contains(OFlags::NOFOLLOW) || !flags.contains(OFlags::PATH);
                if !may_be_link && is_link_itself(&opened)? {
                    return Err(Errno::LOOP);
                }
                return Ok(opened);
            }
            dir = Directory::Below(opened);
        }
        let root = rustix::fs::openat(self.fd, c".", flags, Mode::empty())?;
        Ok(self.fds.own(root))
    }

    /// The path without links that `path` leads to, where what doesn't exist is taken as it is
    /// written: the target of a dangling link is where the thing is to be made.
    pub fn follow(&self, path: &CStr) -> Result<PathBuf> {
        let mut done = PathBuf::root();
        // What is still to do, at the end of the buffer; links are put before it.
        let mut todo = [0_u8; 2 * PATH_MAX];
        let mut start = todo.len();
        prepend(&mut todo, &mut start, path.to_bytes())?;
        let mut links = 0;
        while let Some(range) = first_component(&todo, start) {
            start = range.end;
            match &todo[range] {
                b"." => continue,
                b".." => {
                    done.pop();
                    continue;
                }
                name => done.push(name)?,
            }
            let mut target = [0; PATH_MAX];
            let Some(length) = self.read_link_at(done.as_c_str(), &mut target)? else {
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
            prepend(&mut todo, &mut start, target)?;
        }
        Ok(done)
    }

    /// The same for the directory a path lies in; its last component stays as it is.
    pub fn follow_directory(&self, path: &CStr) -> Result<PathBuf> {
        let (directory, name) = split(path.to_bytes());
        let mut directory_path = PathBuf::root();
        for component in components(directory) {
            directory_path.push(component)?;
        }
        let mut done = self.follow(directory_path.as_c_str())?;
        done.push(name)?;
        Ok(done)
    }

    /// The length of what is at a path, if that is a link.
    fn read_link_at(&self, path: &CStr, target: &mut [u8; PATH_MAX]) -> Result<Option<usize>> {
        let link = match self.open_plain(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(link) => link,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        read_link(link.as_fd(), target)
    }

    /// Makes a directory that is missing, and those to it, one component at a time and never through
    /// a link. `path` has no "..". Also gives whether it was missing indeed.
    pub fn make_directories(&self, path: &[u8]) -> Result<(Directory<'a>, bool)> {
        let (parent, name) = split(path);
        let parent = self.open_or_make(parent)?;
        if name.is_empty() {
            return Ok((parent, false));
        }
        let (made, missing) = self.make_directory(parent.as_fd(), name)?;
        Ok((Directory::Below(made), missing))
    }

    /// A directory, made if it or those to it are missing.
    pub fn open_or_make(&self, path: &[u8]) -> Result<Directory<'a>> {
        let mut existing = components(path).count();
        let mut dir = loop {
            if existing == 0 {
                break Directory::Root(self.fd);
            }
            let mut prefix = PathBuf::root();
            for component in components(path).take(existing) {
                prefix.push(component)?;
            }
            match self.open_plain(prefix.as_c_str(), OFlags::PATH | OFlags::DIRECTORY) {
                Ok(fd) => break Directory::Below(fd),
                Err(Errno::NOENT) => existing -= 1,
                Err(errno) => return Err(errno),
            }
        };
        for component in components(path).skip(existing) {
            dir = Directory::Below(self.make_directory(dir.as_fd(), component)?.0);
        }
        Ok(dir)
    }

    fn make_directory(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(Fd<'a>, bool)> {
        let missing = match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno),
        };
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let made = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        Ok((self.fds.own(made), missing))
    }

    /// Makes an empty regular file, and the directories to it.
    pub fn make_file(&self, path: &[u8], mode: u32) -> Result<Fd<'a>> {
        let (parent, name) = split(path);
        let dir = self.open_or_make(parent)?;
        self.make_file_at(dir.as_fd(), name, mode)
    }

    /// Makes an empty regular file in a directory. EEXIST if there is anything already.
    pub fn make_file_at(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<Fd<'a>> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?;
        Ok(self.fds.own(file))
    }
}

/// What is mounted on a directory: at the root of a look-up ".." leads there again, and to what is mounted on it.
pub fn mounted_on(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::fs::openat2(
        directory,
        c"..",
        DIRECTORY,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    )
}

/// The length of a link's target; `None` if the descriptor is of no link.
pub fn read_link(link: BorrowedFd<'_>, target: &mut [u8; PATH_MAX]) -> Result<Option<usize>> {
    match rustix::fs::readlinkat_raw(link, c"", &mut target[..]) {
        Ok(PATH_MAX) => Err(Errno::NAMETOOLONG),
        Ok(length) => Ok(Some(length)),
        // readlinkat(2) on what is no link: ENOENT with an empty path, EINVAL otherwise.
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What a descriptor from O_PATH and O_NOFOLLOW refers to.
fn is_link_itself(fd: &Fd<'_>) -> Result<bool> {
    let status = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Symlink)
}

/// A directory in a root, or the root.
pub enum Directory<'a> {
    Root(BorrowedFd<'a>),
    Below(Fd<'a>),
}

impl AsFd for Directory<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Directory::Root(fd) => *fd,
            Directory::Below(fd) => fd.as_fd(),
        }
    }
}

/// A path's directory and last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Where the first component at or after `start` lies.
fn first_component(buffer: &[u8], start: usize) -> Option<core::ops::Range<usize>> {
    let begin = start + buffer[start..].iter().position(|&b| b != b'/')?;
    let length = buffer[begin..].iter().position(|&b| b == b'/');
    Some(begin..length.map_or(buffer.len(), |length| begin + length))
}

/// Puts a path and a slash before what starts at `start`.
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
        let fds = Fds::new();
        test(&dir, Root::new(file.as_fd(), &fds));
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
    fn seen(opened: Result<Fd<'_>>) -> std::result::Result<std::path::PathBuf, Errno> {
        let path = super::super::path::of_descriptor(opened?.as_fd());
        Ok(std::fs::read_link(path.as_c_str().to_str().unwrap()).unwrap())
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
                    // Only open_plain() is asked for links themselves.
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
