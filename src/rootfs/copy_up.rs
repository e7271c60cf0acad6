//! tmpcopyup: what a tmpfs will cover is copied into it while it is still detached. Allocates.
//!
//! Whoever shares the source may change it meanwhile: an entry is opened once, never followed, and is
//! what its descriptor says. Trees of any depth are walked with two directories open at a time.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, SeekFrom, Statx, StatxFlags, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::names::Names;
use crate::error::{Error, Result};
use crate::plan::CopyUp;
use crate::sys::fd::{Fd, Fds};
use crate::sys::path::{PATH_MAX, of_descriptor};

/// XATTR_LIST_MAX and XATTR_SIZE_MAX of <linux/limits.h>.
const XATTR_MAX: usize = 65_536;
/// Of the files with several paths.
const BUCKETS: usize = 1024;
/// Far deeper than trees are; it ends the walk of one that somebody makes deeper all the while.
const MAX_DEPTH: usize = 16_384;
/// sendfile(2) moves at most 0x7ffff000 bytes at a time.
const CHUNK: u64 = 1 << 30;
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Copies the content of the directory `from` into the root of the mount `to`, and of the directory's
/// own attributes those that `root` names.
#[inline(never)] // Of the many mounts few are such, and it takes 20 KB of stack.
pub fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>, root: CopyUp) -> Result<()> {
    // All closed at return: with a file open for writing the mount could not become read-only.
    let fds = Fds::new();
    let mut walk = Walk {
        fds: &fds,
        root: to,
        path: Vec::new(),
        links: vec![Vec::new(); BUCKETS],
        list: vec![0; XATTR_MAX],
        value: vec![0; XATTR_MAX],
    };
    let mut source = walk.open(from, c".")?;
    let mut copy = walk.open(to, c".")?;
    let status = walk.status(&source)?;
    let mut stack = vec![walk.read(&source, status)?];
    while let Some(directory) = stack.last_mut() {
        walk.path.truncate(directory.path_length);
        if let Some(name) = directory.names.take() {
            match walk.entry(&source, &copy, name) {
                Ok(None) => {}
                // A name that was listed twice because it was replaced meanwhile.
                Err(error) if error.errno == Errno::EXIST => {}
                Err(error) => return Err(error),
                Ok(Some(below)) => {
                    (source, copy) = (below.source, below.copy);
                    stack.push(walk.read(&source, below.status)?);
                    if stack.len() > MAX_DEPTH {
                        return Err(walk.failed("openat", Errno::NAMETOOLONG));
                    }
                }
            }
            continue;
        }
        let own = if stack.len() == 1 { root } else { CopyUp::ALL };
        if let Some(done) = stack.pop() {
            walk.set_attributes(&source, &copy, c".", &done.status, own)?;
        }
        if let Some(parent) = stack.last() {
            source = walk.open_parent(&source, &parent.status)?;
            copy = walk.open(copy.as_fd(), c"..")?;
        }
    }
    Ok(())
}

/// A directory that is being copied.
struct Directory {
    status: Statx,
    /// What is in it.
    names: Names,
    /// Of its own path.
    path_length: usize,
}

/// A directory to go down into, and its copy.
struct Below<'a> {
    source: Fd<'a>,
    copy: Fd<'a>,
    status: Statx,
}

/// Across file systems, as there may be mounts in the source.
type Identity = (u32, u32, u64);

fn identity(status: &Statx) -> Identity {
    (status.stx_dev_major, status.stx_dev_minor, status.stx_ino)
}

fn type_of(status: &Statx) -> FileType {
    FileType::from_raw_mode(status.stx_mode.into())
}

struct Walk<'a> {
    fds: &'a Fds,
    root: BorrowedFd<'a>,
    /// Of what is at work, relative to the root.
    path: Vec<u8>,
    /// The first path (with a NUL) of each file that has several, by the inode's number: a hash table
    /// of std is several kilobytes of code.
    links: Vec<Vec<(Identity, Vec<u8>)>>,
    list: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Walk<'a> {
    #[cold]
    #[inline(never)]
    fn failed(&self, operation: &'static str, errno: Errno) -> Error {
        let error = Error::system(errno, operation).on(if self.path.is_empty() {
            b"."
        } else {
            &self.path
        });
        match errno {
            Errno::NOSPC => error.explain(
                "the tmpfs is too small for what tmpcopyup copies into it: see its size= and nr_inodes=",
            ),
            Errno::NAMETOOLONG => error.explain("the tree is too deep to be copied"),
            Errno::INVAL if operation == "fchownat" => {
                error.explain("its owner has no id in this user namespace")
            }
            Errno::NOENT if operation == "open" || operation == "listxattr" => {
                error.explain("tmpcopyup needs a procfs on /proc")
            }
            _ => error,
        }
    }

    /// A result with the path that is at work.
    fn during<T>(&self, operation: &'static str, result: rustix::io::Result<T>) -> Result<T> {
        result.map_err(|errno| self.failed(operation, errno))
    }

    fn open(&self, at: BorrowedFd<'_>, name: &CStr) -> Result<Fd<'a>> {
        let opened = rustix::fs::openat(at, name, DIRECTORY, Mode::empty());
        Ok(self.fds.own(self.during("openat", opened)?))
    }

    /// Whoever moved the directory elsewhere must not have us walk on there.
    fn open_parent(&self, directory: &Fd<'_>, expected: &Statx) -> Result<Fd<'a>> {
        let parent = self.open(directory.as_fd(), c"..")?;
        if identity(&self.status(&parent)?) != identity(expected) {
            return Err(self
                .failed("openat", Errno::BUSY)
                .explain("the directory was moved while it was copied"));
        }
        Ok(parent)
    }

    fn status(&self, fd: &Fd<'_>) -> Result<Statx> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let status = rustix::fs::statx(fd, c"", flags, StatxFlags::BASIC_STATS);
        self.during("statx", status)
    }

    /// Reads a directory to its end: a long list would change while things are copied.
    #[inline(never)]
    fn read(&self, directory: &Fd<'_>, status: Statx) -> Result<Directory> {
        let mut names = Names::default();
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = self.during("getdents64", entry)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name);
            }
        }
        Ok(Directory {
            status,
            names,
            path_length: self.path.len(),
        })
    }

    /// Copies one entry; a directory is only made and opened.
    #[inline(never)]
    fn entry(&mut self, source: &Fd<'_>, copy: &Fd<'_>, name: &CStr) -> Result<Option<Below<'a>>> {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        // No device or fifo is opened: this only says where it is.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = match rustix::fs::openat(source, name, flags, Mode::empty()) {
            // Removed since it was listed.
            Err(Errno::NOENT) => return Ok(None),
            opened => self.fds.own(self.during("openat", opened)?),
        };
        let status = self.status(&entry)?;
        let kind = type_of(&status);
        if kind == FileType::Directory {
            let made = rustix::fs::mkdirat(copy, name, Mode::RWXU);
            self.during("mkdirat", made)?;
            return Ok(Some(Below {
                source: self.open(entry.as_fd(), c".")?,
                copy: self.open(copy.as_fd(), name)?,
                status,
            }));
        }
        let bucket = (status.stx_ino % BUCKETS as u64) as usize;
        let has_links = status.stx_nlink > 1;
        if has_links {
            let same = |(first, _): &&(Identity, _)| *first == identity(&status);
            if let Some((_, first)) = self.links[bucket].iter().find(same) {
                let linked = self.link(first, copy, name);
                return self.during("linkat", linked).map(|()| None);
            }
        }
        match kind {
            FileType::RegularFile => self.copy_file(&entry, copy, name, &status)?,
            FileType::Symlink => self.copy_symlink(&entry, copy, name)?,
            _ => {
                let device = rustix::fs::makedev(status.stx_rdev_major, status.stx_rdev_minor);
                let made = rustix::fs::mknodat(copy, name, kind, Mode::empty(), device);
                self.during("mknodat", made)?;
            }
        }
        self.set_attributes(&entry, copy, name, &status, CopyUp::ALL)?;
        if has_links {
            let first = [&self.path[..], b"\0"].concat();
            self.links[bucket].push((identity(&status), first));
        }
        Ok(None)
    }

    /// In steps, as the first path may be longer than the kernel takes.
    fn link(&self, first: &[u8], copy: &Fd<'_>, name: &CStr) -> rustix::io::Result<()> {
        let mut path = first.to_vec();
        let mut start = 0;
        let mut at = None;
        while path.len() - start > PATH_MAX {
            let slash = path[start..start + PATH_MAX]
                .iter()
                .rposition(|&b| b == b'/');
            let slash = start + slash.ok_or(Errno::NAMETOOLONG)?;
            path[slash] = 0;
            let from = at.as_ref().map_or(self.root, Fd::as_fd);
            let directory = until_nul(&path[start..]);
            let opened = rustix::fs::openat(from, directory, DIRECTORY, Mode::empty())?;
            at = Some(self.fds.own(opened));
            start = slash + 1;
        }
        let from = at.as_ref().map_or(self.root, Fd::as_fd);
        rustix::fs::linkat(
            from,
            until_nul(&path[start..]),
            copy,
            name,
            AtFlags::empty(),
        )
    }

    fn copy_symlink(&mut self, entry: &Fd<'_>, copy: &Fd<'_>, name: &CStr) -> Result<()> {
        let length = rustix::fs::readlinkat_raw(entry, c"", &mut self.value[..PATH_MAX]);
        let length = self.during("readlinkat", length)?;
        self.value[length] = 0;
        let made = rustix::fs::symlinkat(until_nul(&self.value), copy, name);
        self.during("symlinkat", made)
    }

    /// Up to the size that the file had: one that grows all the while has an end.
    #[inline(never)]
    fn copy_file(
        &mut self,
        entry: &Fd<'_>,
        copy: &Fd<'_>,
        name: &CStr,
        status: &Statx,
    ) -> Result<()> {
        // What was looked at, whatever has its name now.
        let path = of_descriptor(entry.as_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, path.as_c_str(), flags, Mode::empty());
        let source = self.fds.own(self.during("open", opened)?);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(copy, name, flags, Mode::RUSR | Mode::WUSR);
        let made = self.fds.own(self.during("openat", made)?);
        let size = status.stx_size;
        if status.stx_blocks.saturating_mul(512) >= size {
            let copied = self.copy_range(&source, &made, 0, size);
            return self.during("sendfile", copied);
        }
        let mut end = 0;
        while let Some(data) = next_data(&source, end, size) {
            end = data.end;
            let copied = self.copy_range(&source, &made, data.start, data.end);
            self.during("sendfile", copied)?;
        }
        let extended = rustix::fs::ftruncate(&made, size);
        self.during("ftruncate", extended)
    }

    /// By sendfile(2): copy_file_range(2) never copies between different file systems (since Linux 5.19).
    fn copy_range(
        &mut self,
        source: &Fd<'_>,
        copy: &Fd<'_>,
        mut offset: u64,
        end: u64,
    ) -> rustix::io::Result<()> {
        rustix::fs::seek(copy, SeekFrom::Start(offset))?;
        while offset < end {
            let length = (end - offset).min(CHUNK) as usize;
            match rustix::fs::sendfile(copy, source, Some(&mut offset), length) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                // The source's file system can't splice.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    let length = length.min(self.value.len());
                    let value = &mut self.value[..length];
                    let read = rustix::io::retry_on_intr(|| {
                        rustix::io::pread(source, &mut *value, offset)
                    })?;
                    if read == 0 {
                        break;
                    }
                    let written =
                        rustix::io::retry_on_intr(|| rustix::io::write(copy, &value[..read]))?;
                    offset += written as u64;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// In the order in which one does not undo another: chown(2) clears set-user-ID and capabilities,
    /// and all of them change the times.
    fn set_attributes(
        &mut self,
        entry: &Fd<'_>,
        copy: &Fd<'_>,
        name: &CStr,
        status: &Statx,
        own: CopyUp,
    ) -> Result<()> {
        let uid = own.uid.then(|| Uid::from_raw(status.stx_uid));
        let gid = own.gid.then(|| Gid::from_raw(status.stx_gid));
        let changed = rustix::fs::chownat(copy, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        self.during("fchownat", changed)?;
        if own.mode && type_of(status) != FileType::Symlink {
            let mode = Mode::from_raw_mode(u32::from(status.stx_mode) & 0o7777);
            let changed = rustix::fs::chmodat(copy, name, mode, AtFlags::empty());
            self.during("fchmodat", changed)?;
        }
        self.copy_xattrs(entry, copy, name)?;
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: status.stx_atime.tv_sec,
                tv_nsec: status.stx_atime.tv_nsec.into(),
            },
            last_modification: Timespec {
                tv_sec: status.stx_mtime.tv_sec,
                tv_nsec: status.stx_mtime.tv_nsec.into(),
            },
        };
        let changed = rustix::fs::utimensat(copy, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        self.during("utimensat", changed)
    }

    /// By paths in procfs: O_PATH descriptors and links have no other way before Linux 6.13.
    #[inline(never)]
    fn copy_xattrs(&mut self, entry: &Fd<'_>, copy: &Fd<'_>, name: &CStr) -> Result<()> {
        let from = of_descriptor(entry.as_fd());
        let listed = rustix::fs::listxattr(from.as_c_str(), &mut self.list[..]);
        let length = match listed {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
            listed => self.during("listxattr", listed)?,
        };
        let mut to = of_descriptor(copy.as_fd());
        self.during("lsetxattr", to.push(name.to_bytes()))?;
        for attribute in self.list[..length].split_inclusive(|&b| b == 0) {
            let Ok(attribute) = CStr::from_bytes_with_nul(attribute) else {
                continue;
            };
            if !is_copied(attribute) {
                continue;
            }
            let length = match rustix::fs::getxattr(from.as_c_str(), attribute, &mut self.value[..])
            {
                // NODATA: removed since it was listed. OVERFLOW: a capability that only holds in
                // another user namespace (capabilities(7)).
                Err(Errno::NODATA | Errno::OVERFLOW) => continue,
                got => self.during("getxattr", got)?,
            };
            let value = &self.value[..length];
            match rustix::fs::lsetxattr(to.as_c_str(), attribute, value, XattrFlags::empty()) {
                // A tmpfs takes user.* only since Linux 6.6; a start must not fail for that. An access
                // list that is left out would let somebody in.
                Err(Errno::OPNOTSUPP)
                    if !attribute.to_bytes().starts_with(b"system.posix_acl_") => {}
                set => self.during("lsetxattr", set)?,
            }
        }
        Ok(())
    }
}

fn until_nul(bytes: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(bytes).unwrap_or_default()
}

/// Of the security modules' own only the capabilities: labels are the mount's, and signatures hold
/// for one inode.
fn is_copied(attribute: &CStr) -> bool {
    !attribute.to_bytes().starts_with(b"security.") || attribute == c"security.capability"
}

/// The next part between `offset` and `size` that is no hole. All, where the file system can't tell.
fn next_data(file: &Fd<'_>, offset: u64, size: u64) -> Option<core::ops::Range<u64>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return None,
        Err(_) => offset,
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => end.min(size),
        _ => size,
    };
    (start < size).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{RenameFlags, mkdirat, openat, renameat_with};
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, SystemTime};

    struct Trees(PathBuf);

    impl Trees {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("rfs-copy-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("from")).unwrap();
            Trees(dir)
        }

        fn from(&self) -> PathBuf {
            self.0.join("from")
        }

        fn to(&self) -> PathBuf {
            self.0.join("to")
        }

        fn copy(&self) -> Result<()> {
            fs::create_dir(self.to()).unwrap();
            let open = |path| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, Mode::empty()).unwrap()
            };
            let (from, to) = (open(self.from()), open(self.to()));
            copy_up(from.as_fd(), to.as_fd(), CopyUp::ALL)
        }
    }

    /// Not remove_dir_all(): it keeps a descriptor open for each level.
    impl Drop for Trees {
        fn drop(&mut self) {
            let removed = std::process::Command::new("rm")
                .arg("-rf")
                .arg(&self.0)
                .status();
            assert!(removed.is_ok_and(|status| status.success()));
        }
    }

    fn write(path: PathBuf, content: &[u8], mode: u32) {
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn same(from: &Path, to: &Path) {
        let (a, b) = (
            fs::symlink_metadata(from).unwrap(),
            fs::symlink_metadata(to).unwrap(),
        );
        let of = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
        assert_eq!(of(&a), of(&b), "{from:?}");
        if a.is_file() {
            assert!(fs::read(from).unwrap() == fs::read(to).unwrap(), "{from:?}");
        }
    }

    #[test]
    fn everything_is_as_it_was() {
        let trees = Trees::new("all");
        let from = trees.from();
        fs::create_dir_all(from.join("d/e")).unwrap();
        fs::set_permissions(from.join("d/e"), Permissions::from_mode(0o2570)).unwrap();
        write(from.join("suid"), b"x", 0o4755);
        write(from.join("d/empty"), b"", 0o400);
        write(from.join("d/large"), &[7; 300_000], 0o640);
        write(from.join("d/later"), b"x", 0o600);
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
        let later = File::options()
            .write(true)
            .open(from.join("d/later"))
            .unwrap();
        later.set_modified(time).unwrap();
        File::open(from.join("d"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        fs::hard_link(from.join("suid"), from.join("d/second")).unwrap();
        symlink("/etc/passwd", from.join("absolute")).unwrap();
        symlink("no/such", from.join("d/dangling")).unwrap();
        let directory = File::open(&from).unwrap();
        for (name, kind) in [(c"fifo", FileType::Fifo), (c"socket", FileType::Socket)] {
            let mode = Mode::from_raw_mode(0o622);
            rustix::fs::mknodat(&directory, name, kind, mode, 0).unwrap();
        }
        trees.copy().unwrap();
        let to = trees.to();
        for path in [
            ".",
            "d",
            "d/e",
            "suid",
            "d/empty",
            "d/large",
            "d/later",
            "d/second",
            "absolute",
            "d/dangling",
            "fifo",
            "socket",
        ] {
            same(&from.join(path), &to.join(path));
        }
        let suid = fs::metadata(to.join("suid")).unwrap();
        let inode_of_second = fs::metadata(to.join("d/second")).unwrap().ino();
        assert_eq!((suid.nlink(), suid.ino()), (2, inode_of_second));
        assert_eq!(
            fs::read_link(to.join("absolute")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert!(fs::metadata(to.join("fifo")).unwrap().file_type().is_fifo());
    }

    #[test]
    fn holes_stay_holes() {
        let trees = Trees::new("holes");
        let path = trees.from().join("sparse");
        let file = File::create(&path).unwrap();
        for offset in [5 << 20, 9 << 20] {
            std::os::unix::fs::FileExt::write_all_at(&file, &[1; 5000], offset).unwrap();
        }
        file.set_len((64 << 20) + 1).unwrap();
        trees.copy().unwrap();
        same(&path, &trees.to().join("sparse"));
        let blocks = fs::metadata(trees.to().join("sparse")).unwrap().blocks();
        assert!(blocks < 1000, "{blocks}");
    }

    /// More levels than descriptors, and paths longer than the kernel takes.
    #[test]
    fn deep_trees_are_copied() {
        const NAME: &CStr = c"a-name-of-some-length";
        let bottom_of = |top: PathBuf, make: bool| {
            let mut directory = rustix::fs::open(top, DIRECTORY, Mode::empty()).unwrap();
            for _ in 0..2000 {
                if make {
                    mkdirat(&directory, NAME, Mode::RWXU).unwrap();
                }
                directory = openat(&directory, NAME, DIRECTORY, Mode::empty()).unwrap();
            }
            directory
        };
        let trees = Trees::new("deep");
        let bottom = bottom_of(trees.from(), true);
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(openat(&bottom, c"one", flags, Mode::RWXU).unwrap());
        rustix::fs::linkat(&bottom, c"one", &bottom, c"two", AtFlags::empty()).unwrap();
        trees.copy().unwrap();
        let copy = bottom_of(trees.to(), false);
        let of = |name| rustix::fs::statat(&copy, name, AtFlags::empty()).unwrap();
        assert_eq!(
            (of(c"one").st_nlink, of(c"one").st_ino),
            (2, of(c"two").st_ino)
        );
    }

    /// Nothing is read through a link that takes a file's place, and no fifo is waited for.
    #[test]
    fn entries_may_change_meanwhile() {
        let trees = Trees::new("race");
        let from = trees.from();
        fs::create_dir(trees.0.join("out")).unwrap();
        write(trees.0.join("out/secret"), b"secret", 0o600);
        let directory = File::open(&from).unwrap();
        write(from.join("a"), b"open", 0o600);
        symlink("../out/secret", from.join("b")).unwrap();
        rustix::fs::mknodat(&directory, c"c", FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::create_dir_all(from.join("d/e")).unwrap();
        symlink("../out", from.join("f")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let names = [c"a", c"b", c"c", c"d", c"f"];
                // An end, should the copy fail.
                for round in 0..1_000_000 {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let (one, other) = (names[round % 5], names[(round * 3 + 1) % 5]);
                    let exchanged =
                        renameat_with(&directory, one, &directory, other, RenameFlags::EXCHANGE);
                    assert!(exchanged.is_ok() || one == other);
                }
            });
            for _ in 0..100 {
                trees.copy().unwrap();
                for entry in fs::read_dir(trees.to()).unwrap() {
                    let path = entry.unwrap().path();
                    let found = fs::symlink_metadata(&path).unwrap();
                    if found.is_file() {
                        assert_eq!(fs::read(&path).unwrap(), b"open");
                    }
                    assert!(!found.is_dir() || !path.join("secret").exists());
                }
                fs::remove_dir_all(trees.to()).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_directory_that_was_moved_away_is_not_left_upwards() {
        let trees = Trees::new("moved");
        fs::create_dir_all(trees.from().join("d/e")).unwrap();
        let fds = Fds::new();
        let open = |path| fds.own(rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap());
        let (top, inner) = (open(trees.from().join("d")), open(trees.from().join("d/e")));
        let walk = Walk {
            fds: &fds,
            root: top.as_fd(),
            path: b"d/e".to_vec(),
            links: Vec::new(),
            list: Vec::new(),
            value: Vec::new(),
        };
        let status = walk.status(&top).unwrap();
        assert!(walk.open_parent(&inner, &status).is_ok());
        fs::rename(trees.from().join("d/e"), trees.0.join("e")).unwrap();
        let error = walk.open_parent(&inner, &status).err().unwrap();
        assert_eq!(
            error.to_string(),
            "openat d/e: Device or resource busy; the directory was moved while it was copied"
        );
    }
}
