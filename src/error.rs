//! The one error type. It never allocates: it is also made in the child of a raw clone, where
//! another thread may have held malloc's lock.

use core::fmt::{self, Display, Write};

use rustix::io::Errno;

use crate::sys::page::Page;

pub type Result<T> = core::result::Result<T, Error>;

/// Text of at most `N` bytes. What doesn't fit is cut at a character's boundary.
#[derive(Clone)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub const fn new() -> Self {
        Text {
            bytes: [0; N],
            len: 0,
        }
    }

    #[inline(never)]
    pub fn format(text: impl Display) -> Self {
        let mut made = Self::new();
        // Writing into a Text does not fail.
        let _ = write!(made, "{text}");
        made
    }

    /// A path: bytes outside UTF-8 and control characters are replaced, for a message is one line and ends with NUL; a
    /// long one keeps its end, which tells more.
    #[inline(never)]
    pub fn path(path: &[u8]) -> Self {
        let mut made = Self::new();
        let mut rest = path;
        if rest.len() > N {
            let _ = made.write_str("...");
            rest = &rest[rest.len() - (N - 3)..];
        }
        for chunk in rest.utf8_chunks() {
            for c in chunk.valid().chars() {
                let _ = made.write_char(if c.is_control() { '?' } else { c });
            }
            for _ in chunk.invalid() {
                let _ = made.write_char('?');
            }
        }
        made
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn as_str(&self) -> &str {
        // Only whole characters are ever written.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(N - self.len);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes[self.len..self.len + end].copy_from_slice(&text.as_bytes()[..end]);
        self.len += end;
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Config,
    Plan,
    Root,
    Mounts,
    Devices,
    Hooks,
    Pivot,
    Process,
    Finalize,
    ReadonlyPaths,
    MaskedPaths,
    Console,
    Mountfd,
}

/// Which part of the configuration it concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    None,
    Mount(usize),
    /// `None`: one of the default devices.
    Device(Option<usize>),
    MaskedPath(usize),
    ReadonlyPath(usize),
    /// Of one kind, by its name in config.json.
    Hook(&'static str, usize),
}

/// By its name in config.json.
impl Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::None => Ok(()),
            Object::Mount(index) => write!(f, "mounts[{index}]"),
            Object::Device(Some(index)) => write!(f, "linux.devices[{index}]"),
            Object::Device(None) => f.write_str("default device"),
            Object::MaskedPath(index) => write!(f, "linux.maskedPaths[{index}]"),
            Object::ReadonlyPath(index) => write!(f, "linux.readonlyPaths[{index}]"),
            Object::Hook(kind, index) => write!(f, "hooks.{kind}[{index}]"),
        }
    }
}

pub struct Error {
    pub errno: Errno,
    /// `None`: there was no memory for them.
    details: Option<Page<Details>>,
}

pub struct Details {
    pub stage: Stage,
    pub object: Object,
    /// The system call that failed, or "check" where a rule of ours was broken, or "hook" where one did.
    pub operation: &'static str,
    /// As configured.
    pub path: Text<256>,
    /// What the system call acted on, where that is not `path`.
    pub acted_on: Text<256>,
    /// What the kernel wrote to the fsopen descriptor.
    pub kernel: Text<256>,
    /// The rule that was broken, or what to do.
    pub explanation: Text<512>,
}

impl Details {
    const fn new(operation: &'static str) -> Self {
        Details {
            stage: Stage::Plan,
            object: Object::None,
            operation,
            path: Text::new(),
            acted_on: Text::new(),
            kernel: Text::new(),
            explanation: Text::new(),
        }
    }
}

impl Error {
    /// A system call failed.
    #[cold]
    #[inline(never)]
    pub fn system(errno: Errno, operation: &'static str) -> Self {
        Error {
            errno,
            details: Page::new(Details::new(operation)),
        }
    }

    /// A rule of ours was broken.
    #[cold]
    pub fn check(errno: Errno, explanation: impl Display) -> Self {
        Self::system(errno, "check").explain(explanation)
    }

    #[cold]
    pub fn invalid(explanation: impl Display) -> Self {
        Self::check(Errno::INVAL, explanation)
    }

    /// A hook that was started failed.
    #[cold]
    pub fn hook(errno: Errno, explanation: impl Display) -> Self {
        Self::system(errno, "hook").explain(explanation)
    }

    #[cold]
    pub fn on(self, acted_on: &[u8]) -> Self {
        self.with(|details| details.acted_on = Text::path(acted_on))
    }

    #[cold]
    pub fn explain(self, explanation: impl Display) -> Self {
        self.with(|details| details.explanation = Text::format(explanation))
    }

    #[cold]
    pub fn at(self, stage: Stage) -> Self {
        self.with(|details| details.stage = stage)
    }

    #[cold]
    pub fn about(self, object: Object, path: &[u8]) -> Self {
        self.with(|details| {
            details.object = object;
            details.path = Text::path(path);
        })
    }

    #[cold]
    pub fn said_by_kernel(self, messages: Text<256>) -> Self {
        self.with(|details| details.kernel = messages)
    }

    fn with(mut self, change: impl FnOnce(&mut Details)) -> Self {
        if let Some(details) = &mut self.details {
            change(details);
        }
        self
    }

    pub fn details(&self) -> &Details {
        static NONE: Details = Details::new("mmap");
        self.details.as_deref().unwrap_or(&NONE)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = self.details();
        write!(f, "{}", details.object)?;
        match (details.object == Object::None, details.path.is_empty()) {
            (true, true) => {}
            (true, false) => write!(f, "{}: ", details.path.as_str())?,
            (false, true) => f.write_str(": ")?,
            (false, false) => write!(f, " ({}): ", details.path.as_str())?,
        }
        if matches!(details.operation, "check" | "hook") {
            return f.write_str(details.explanation.as_str());
        }
        f.write_str(details.operation)?;
        if !details.acted_on.is_empty() {
            write!(f, " {}", details.acted_on.as_str())?;
        }
        write!(f, ": {}", Description(self.errno))?;
        if !details.kernel.is_empty() {
            write!(f, " (the kernel says: {})", details.kernel.as_str())?;
        }
        if !details.explanation.is_empty() {
            write!(f, "; {}", details.explanation.as_str())?;
        }
        Ok(())
    }
}

/// Gives a bare errno the name of the system call and what it acted on.
pub trait During<T> {
    fn during(self, operation: &'static str, acted_on: &[u8]) -> Result<T>;
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during(self, operation: &'static str, acted_on: &[u8]) -> Result<T> {
        self.map_err(|errno| Error::system(errno, operation).on(acted_on))
    }
}

/// strerror(3) without its locks, allocation and locale: those are not for the child of a raw clone.
struct Description(Errno);

impl Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            Errno::PERM => "Operation not permitted",
            Errno::NOENT => "No such file or directory",
            Errno::SRCH => "No such process",
            Errno::INTR => "Interrupted system call",
            Errno::IO => "Input/output error",
            Errno::NXIO => "No such device or address",
            Errno::TOOBIG => "Argument list too long",
            Errno::NOEXEC => "Exec format error",
            Errno::BADF => "Bad file descriptor",
            Errno::AGAIN => "Resource temporarily unavailable",
            Errno::NOMEM => "Cannot allocate memory",
            Errno::ACCESS => "Permission denied",
            Errno::FAULT => "Bad address",
            Errno::NOTBLK => "Block device required",
            Errno::BUSY => "Device or resource busy",
            Errno::EXIST => "File exists",
            Errno::XDEV => "Invalid cross-device link",
            Errno::NODEV => "No such device",
            Errno::NOTDIR => "Not a directory",
            Errno::ISDIR => "Is a directory",
            Errno::INVAL => "Invalid argument",
            Errno::NFILE => "Too many open files in system",
            Errno::MFILE => "Too many open files",
            Errno::NOTTY => "Inappropriate ioctl for device",
            Errno::TXTBSY => "Text file busy",
            Errno::FBIG => "File too large",
            Errno::NOSPC => "No space left on device",
            Errno::ROFS => "Read-only file system",
            Errno::MLINK => "Too many links",
            Errno::PIPE => "Broken pipe",
            Errno::RANGE => "Numerical result out of range",
            Errno::NAMETOOLONG => "File name too long",
            Errno::NOSYS => "Function not implemented",
            Errno::NOTEMPTY => "Directory not empty",
            Errno::LOOP => "Too many levels of symbolic links",
            Errno::BADMSG => "Bad message",
            Errno::NODATA => "No data available",
            Errno::OVERFLOW => "Value too large for defined data type",
            Errno::PROTO => "Protocol error",
            Errno::CONNRESET => "Connection reset by peer",
            Errno::TOOMANYREFS => "Too many references: cannot splice",
            Errno::USERS => "Too many users",
            Errno::OPNOTSUPP => "Operation not supported",
            Errno::STALE => "Stale file handle",
            Errno::DQUOT => "Disk quota exceeded",
            Errno::NOMEDIUM => "No medium found",
            other => return write!(f, "error {}", other.raw_os_error()),
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_everything_in_it() {
        let error = Error::system(Errno::INVAL, "fsconfig")
            .on(b"nosuchopt")
            .explain("remove it")
            .at(Stage::Mounts)
            .about(Object::Mount(3), b"/data")
            .said_by_kernel(Text::format("tmpfs: Unknown parameter 'nosuchopt'"));
        assert_eq!(
            error.to_string(),
            "mounts[3] (/data): fsconfig nosuchopt: Invalid argument \
             (the kernel says: tmpfs: Unknown parameter 'nosuchopt'); remove it"
        );
    }

    #[test]
    fn text_is_cut_between_characters_and_paths_keep_their_end() {
        assert_eq!(Text::<4>::format("aaaé").as_str(), "aaa");
        assert_eq!(Text::<8>::path(b"/very/long/path").as_str(), ".../path");
        assert_eq!(Text::<8>::path(b"/a\xffb\0\n").as_str(), "/a?b??");
    }
}
