// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one error type. It never allocates, because it is also made in the child of a raw clone, where another thread
//! may have held malloc's lock.

use core::fmt::{self, Display};

use rustix::io::Errno;

use crate::sys::page::Page;
use crate::text::{Escaped, Text};

pub type Result<T> = core::result::Result<T, Error>;

/// The stage in which it happened.
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

/// The part of the configuration that it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    None,
    Mount(usize),
    /// A device by its index. `None` stands for a default device.
    Device(Option<usize>),
    MaskedPath(usize),
    ReadonlyPath(usize),
    /// A hook of one kind, which is named as in config.json.
    Hook(&'static str, usize),
}

/// Writes the object's name in config.json.
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

/// The text that an error has besides the system call and its errno.
pub type Sentence = Text<512>;

pub struct Error {
    pub errno: Errno,
    /// The texts. `None` if there was no memory for them.
    details: Option<Page<Details>>,
}

pub struct Details {
    pub stage: Stage,
    pub object: Object,
    /// The system call that failed, "check" if a rule of this library was broken, or "hook" if a hook failed.
    pub operation: &'static str,
    /// The path as it was configured.
    pub path: Text<256>,
    /// The file that the system call acted on, if that is not `path`.
    pub acted_on: Text<256>,
    /// The messages that the kernel wrote to the fsopen(2) descriptor.
    pub kernel: Text<256>,
    /// The rule that was broken, or the remedy.
    pub explanation: Sentence,
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
        let error = Error {
            errno,
            details: Page::new(Details::new(operation)).ok(),
        };
        error.with(|details| details.explanation = limit(errno))
    }

    /// A rule of this library was broken.
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

    /// Adds a parameter of a file system. A long value is cut.
    #[cold]
    pub fn on_parameter(self, key: &[u8], value: Option<&[u8]>) -> Self {
        self.with(|details| details.acted_on = Text::format(Setting(key, value)))
    }

    #[cold]
    pub fn explain(self, explanation: impl Display) -> Self {
        if is_limit(self.errno) && self.details().operation != "check" {
            return self; // the reason matters more than the operation
        }
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

    /// The sentence without the errno's words, for a caller that writes them itself.
    pub fn detail(&self) -> Detail<'_> {
        Detail(self)
    }

    fn sentence(&self, f: &mut fmt::Formatter<'_>, with_errno: bool) -> fmt::Result {
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
        if with_errno {
            write!(f, ": {}", Description(self.errno))?;
        }
        if !details.kernel.is_empty() {
            write!(f, " (the kernel says: {})", details.kernel.as_str())?;
        }
        if !details.explanation.is_empty() {
            write!(f, "; {}", details.explanation.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// The sentence that a person reads.
impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sentence(f, true)
    }
}

/// An error's sentence without the words of its errno.
pub struct Detail<'a>(&'a Error);

impl Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.sentence(f, false)
    }
}

fn is_limit(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE)
}

/// The limit that an errno means.
fn limit(errno: Errno) -> Text<512> {
    match errno {
        Errno::MFILE => {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            Text::format(format_args!(
                "RLIMIT_NOFILE lets this process have {} descriptors; raise the limit, or set it later",
                limit.current.unwrap_or(u64::MAX)
            ))
        }
        Errno::NFILE => {
            Text::format("the system has as many open files as /proc/sys/fs/file-max allows")
        }
        _ => Text::new(),
    }
}

/// An option as fstab(5) writes it, but without a password: mount.cifs(8), mount.ceph(8).
pub struct Setting<'a>(pub &'a [u8], pub Option<&'a [u8]>);

impl Display for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Escaped(self.0);
        match self.1 {
            None => key.fmt(f),
            Some(_) if self.0.starts_with(b"pass") || self.0.starts_with(b"secret") => {
                write!(f, "{key}=...")
            }
            Some(value) => write!(f, "{key}={}", Escaped(value)),
        }
    }
}

/// Gives a bare errno the name of the system call and of the file that it acted on.
pub trait During<T> {
    fn during(self, operation: &'static str, acted_on: &[u8]) -> Result<T>;
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during(self, operation: &'static str, acted_on: &[u8]) -> Result<T> {
        self.map_err(|errno| Error::system(errno, operation).on(acted_on))
    }
}

/// Does what strerror(3) does, without its locks, allocation and locale, which the child of a raw clone must not use.
struct Description(Errno);

impl Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.raw_os_error() {
            libc::EPERM => "Operation not permitted",
            libc::ENOENT => "No such file or directory",
            libc::ESRCH => "No such process",
            libc::EINTR => "Interrupted system call",
            libc::EIO => "Input/output error",
            libc::ENXIO => "No such device or address",
            libc::E2BIG => "Argument list too long",
            libc::ENOEXEC => "Exec format error",
            libc::EBADF => "Bad file descriptor",
            libc::ECHILD => "No child processes",
            libc::EAGAIN => "Resource temporarily unavailable",
            libc::ENOMEM => "Cannot allocate memory",
            libc::EACCES => "Permission denied",
            libc::EFAULT => "Bad address",
            libc::ENOTBLK => "Block device required",
            libc::EBUSY => "Device or resource busy",
            libc::EEXIST => "File exists",
            libc::EXDEV => "Invalid cross-device link",
            libc::ENODEV => "No such device",
            libc::ENOTDIR => "Not a directory",
            libc::EISDIR => "Is a directory",
            libc::EINVAL => "Invalid argument",
            libc::ENFILE => "Too many open files in system",
            libc::EMFILE => "Too many open files",
            libc::ENOTTY => "Inappropriate ioctl for device",
            libc::ETXTBSY => "Text file busy",
            libc::EFBIG => "File too large",
            libc::ENOSPC => "No space left on device",
            libc::ESPIPE => "Illegal seek",
            libc::EROFS => "Read-only file system",
            libc::EMLINK => "Too many links",
            libc::EPIPE => "Broken pipe",
            libc::EDOM => "Numerical argument out of domain",
            libc::ERANGE => "Numerical result out of range",
            libc::EDEADLK => "Resource deadlock avoided",
            libc::ENAMETOOLONG => "File name too long",
            libc::ENOLCK => "No locks available",
            libc::ENOSYS => "Function not implemented",
            libc::ENOTEMPTY => "Directory not empty",
            libc::ELOOP => "Too many levels of symbolic links",
            libc::ENOMSG => "No message of desired type",
            libc::EIDRM => "Identifier removed",
            libc::ECHRNG => "Channel number out of range",
            libc::EL2NSYNC => "Level 2 not synchronized",
            libc::EL3HLT => "Level 3 halted",
            libc::EL3RST => "Level 3 reset",
            libc::ELNRNG => "Link number out of range",
            libc::EUNATCH => "Protocol driver not attached",
            libc::ENOCSI => "No CSI structure available",
            libc::EL2HLT => "Level 2 halted",
            libc::EBADE => "Invalid exchange",
            libc::EBADR => "Invalid request descriptor",
            libc::EXFULL => "Exchange full",
            libc::ENOANO => "No anode",
            libc::EBADRQC => "Invalid request code",
            libc::EBADSLT => "Invalid slot",
            libc::EBFONT => "Bad font file format",
            libc::ENOSTR => "Device not a stream",
            libc::ENODATA => "No data available",
            libc::ETIME => "Timer expired",
            libc::ENOSR => "Out of streams resources",
            libc::ENONET => "Machine is not on the network",
            libc::ENOPKG => "Package not installed",
            libc::EREMOTE => "Object is remote",
            libc::ENOLINK => "Link has been severed",
            libc::EADV => "Advertise error",
            libc::ESRMNT => "Srmount error",
            libc::ECOMM => "Communication error on send",
            libc::EPROTO => "Protocol error",
            libc::EMULTIHOP => "Multihop attempted",
            libc::EDOTDOT => "RFS specific error",
            libc::EBADMSG => "Bad message",
            libc::EOVERFLOW => "Value too large for defined data type",
            libc::ENOTUNIQ => "Name not unique on network",
            libc::EBADFD => "File descriptor in bad state",
            libc::EREMCHG => "Remote address changed",
            libc::ELIBACC => "Can not access a needed shared library",
            libc::ELIBBAD => "Accessing a corrupted shared library",
            libc::ELIBSCN => ".lib section in a.out corrupted",
            libc::ELIBMAX => "Attempting to link in too many shared libraries",
            libc::ELIBEXEC => "Cannot exec a shared library directly",
            libc::EILSEQ => "Invalid or incomplete multibyte or wide character",
            libc::ERESTART => "Interrupted system call should be restarted",
            libc::ESTRPIPE => "Streams pipe error",
            libc::EUSERS => "Too many users",
            libc::ENOTSOCK => "Socket operation on non-socket",
            libc::EDESTADDRREQ => "Destination address required",
            libc::EMSGSIZE => "Message too long",
            libc::EPROTOTYPE => "Protocol wrong type for socket",
            libc::ENOPROTOOPT => "Protocol not available",
            libc::EPROTONOSUPPORT => "Protocol not supported",
            libc::ESOCKTNOSUPPORT => "Socket type not supported",
            libc::EOPNOTSUPP => "Operation not supported",
            libc::EPFNOSUPPORT => "Protocol family not supported",
            libc::EAFNOSUPPORT => "Address family not supported by protocol",
            libc::EADDRINUSE => "Address already in use",
            libc::EADDRNOTAVAIL => "Cannot assign requested address",
            libc::ENETDOWN => "Network is down",
            libc::ENETUNREACH => "Network is unreachable",
            libc::ENETRESET => "Network dropped connection on reset",
            libc::ECONNABORTED => "Software caused connection abort",
            libc::ECONNRESET => "Connection reset by peer",
            libc::ENOBUFS => "No buffer space available",
            libc::EISCONN => "Transport endpoint is already connected",
            libc::ENOTCONN => "Transport endpoint is not connected",
            libc::ESHUTDOWN => "Cannot send after transport endpoint shutdown",
            libc::ETOOMANYREFS => "Too many references: cannot splice",
            libc::ETIMEDOUT => "Connection timed out",
            libc::ECONNREFUSED => "Connection refused",
            libc::EHOSTDOWN => "Host is down",
            libc::EHOSTUNREACH => "No route to host",
            libc::EALREADY => "Operation already in progress",
            libc::EINPROGRESS => "Operation now in progress",
            libc::ESTALE => "Stale file handle",
            libc::EUCLEAN => "Structure needs cleaning",
            libc::ENOTNAM => "Not a XENIX named type file",
            libc::ENAVAIL => "No XENIX semaphores available",
            libc::EISNAM => "Is a named type file",
            libc::EREMOTEIO => "Remote I/O error",
            libc::EDQUOT => "Disk quota exceeded",
            libc::ENOMEDIUM => "No medium found",
            libc::EMEDIUMTYPE => "Wrong medium type",
            libc::ECANCELED => "Operation canceled",
            libc::ENOKEY => "Required key not available",
            libc::EKEYEXPIRED => "Key has expired",
            libc::EKEYREVOKED => "Key has been revoked",
            libc::EKEYREJECTED => "Key was rejected by service",
            libc::EOWNERDEAD => "Owner died",
            libc::ENOTRECOVERABLE => "State not recoverable",
            libc::ERFKILL => "Operation not possible due to RF-kill",
            libc::EHWPOISON => "Memory page has hardware error",
            unknown => return write!(f, "Unknown error {unknown}"),
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
    fn an_errno_has_the_words_of_strerror() {
        for number in 1..=4095 {
            let theirs = std::io::Error::from_raw_os_error(number).to_string();
            let ours = Description(Errno::from_raw_os_error(number)).to_string();
            assert_eq!(format!("{ours} (os error {number})"), theirs);
        }
    }

    #[test]
    fn a_detail_is_the_message_without_the_words_of_errno() {
        let error = Error::system(Errno::INVAL, "fsconfig")
            .on(b"nosuchopt")
            .explain("remove it")
            .about(Object::Mount(3), b"/data")
            .said_by_kernel(Text::format("tmpfs: Unknown parameter 'nosuchopt'"));
        assert_eq!(
            error.detail().to_string(),
            "mounts[3] (/data): fsconfig nosuchopt \
             (the kernel says: tmpfs: Unknown parameter 'nosuchopt'); remove it"
        );
        let rule = Error::invalid("type: it is empty").about(Object::Mount(0), b"");
        assert_eq!(rule.detail().to_string(), rule.to_string());
    }

    #[test]
    fn a_limit_is_named_whatever_the_call_was_for() {
        let error = Error::system(Errno::MFILE, "open_tree").explain("the host has none to bind");
        let message = error.to_string();
        assert!(
            message.contains("RLIMIT_NOFILE lets this process have "),
            "{message}"
        );
        assert!(!message.contains("none to bind"), "{message}");
        let rule = Error::check(Errno::MFILE, "a rule").to_string();
        assert_eq!(rule, "a rule");
    }

    #[test]
    fn a_parameter_has_its_value_but_no_password() {
        let shown = |key: &[u8], value| Setting(key, value).to_string();
        assert_eq!(shown(b"size", Some(b"1\n")), "size=1\\x0a");
        assert_eq!(shown(b"ro", None), "ro");
        assert_eq!(shown(b"password2", Some(b"hush")), "password2=...");
        assert_eq!(shown(b"secret", Some(b"hush")), "secret=...");
    }

    #[test]
    fn nothing_raw_reaches_a_message() {
        let error = Error::system(Errno::NOENT, "openat2")
            .on(b"/x\n\xff")
            .explain(format_args!("it leads to {}", "\x1b[31m"))
            .about(Object::Mount(1), "/a\u{202e}b".as_bytes());
        assert_eq!(
            error.to_string(),
            "mounts[1] (/a\\xe2\\x80\\xaeb): openat2 /x\\x0a\\xff: No such file or directory; \
             it leads to \\x1b[31m"
        );
    }
}
