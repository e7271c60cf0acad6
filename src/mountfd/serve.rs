//! The host's side of the socket. The peer may be a container's process that was taken over: it can ask for no
//! more than the plan's own mounts, each once, and be refused a bounded number of times.

use std::os::fd::{AsFd, RawFd};

use rustix::io::Errno;
use rustix::net::ReturnFlags;

use super::wire::{Answer, REQUEST, Received, Socket, decode_request};
use super::{Namespaces, Need, Wanted, open};
use crate::error::{During, Error, Result, Text};
use crate::plan::Plan;
use crate::sys::fd;

/// An honest peer is never refused.
const MAX_REFUSALS: usize = 16;

/// Answers until the peer closes its end.
pub fn serve(plan: &Plan, socket: RawFd, userns: RawFd, mntns: RawFd) -> Result<()> {
    let borrowed = fd::borrow(socket)
        .during("fcntl", b"socket")
        .map_err(|error| error.explain(format_args!("socket {socket} is not open")))?;
    let socket = Socket::new(borrowed)?;
    let mut server = Server {
        plan,
        namespaces: Namespaces::new(userns, mntns)?,
        asked: vec![false; plan.mounts.len() + 1],
        refusals: 0,
    };
    let mut packet = [0; REQUEST];
    loop {
        let received = socket.receive(&mut packet, None).during("recvmsg", b"")?;
        let index = match received {
            Received::End => return Ok(()),
            Received::Whole(flags) if !flags.contains(ReturnFlags::CTRUNC) => {
                decode_request(&packet)
            }
            _ => None,
        };
        let index = index.ok_or_else(|| {
            Error::check(
                Errno::BADMSG,
                "the container's process sent something else than a request of rfs_mountfd_request()",
            )
        })?;
        let answered = match server.open(index) {
            Ok(opened) => {
                let answer = Answer {
                    index,
                    errno: 0,
                    message: Text::new(),
                };
                socket.send(&answer.encode(), Some(opened.as_fd()), false)
            }
            Err(error) => {
                let answer = Answer {
                    index,
                    errno: error.errno.raw_os_error(),
                    message: Text::format(&error),
                };
                socket.send(&answer.encode(), None, false)
            }
        };
        match answered {
            Ok(()) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(Errno::AGAIN | Errno::TOOMANYREFS) => {
                return Err(Error::check(
                    Errno::PROTO,
                    "the container's process asks, but does not take the answers",
                ));
            }
            Err(errno) => return Err(Error::system(errno, "sendmsg")),
        }
        if server.refusals > MAX_REFUSALS {
            return Err(Error::check(
                Errno::PROTO,
                format_args!(
                    "the container's process asked {MAX_REFUSALS} times for what it may not have"
                ),
            ));
        }
    }
}

struct Server<'a> {
    plan: &'a Plan,
    namespaces: Namespaces<'a>,
    /// Of each mount, and of the rootfs.
    asked: Vec<bool>,
    refusals: usize,
}

impl<'a> Server<'a> {
    fn open(&mut self, index: u64) -> Result<std::os::fd::OwnedFd> {
        let wanted = self.allowed(index).inspect_err(|_| self.refusals += 1)?;
        open(self.plan, wanted, &mut self.namespaces)
    }

    fn allowed(&mut self, index: u64) -> Result<Wanted<'a>> {
        let refuse = |sentence| Err(Error::check(Errno::PERM, sentence));
        let Some(wanted) = Wanted::of(self.plan, index) else {
            return refuse("there is no such mount in the plan");
        };
        if wanted.need() == Need::Never {
            return refuse("the container's process makes this mount itself");
        }
        let (position, takes_descriptor) = match wanted {
            Wanted::Mount(mount) => (mount.index, mount.takes_descriptor()),
            Wanted::Rootfs(_) => (self.plan.mounts.len(), self.plan.rootfs.fd.is_some()),
        };
        if takes_descriptor {
            return Err(Error::check(
                Errno::OPNOTSUPP,
                "the source is a descriptor of the container's process (source_fd, rootfs_fd), which the host's side can't open",
            ));
        }
        match self.asked.get_mut(position) {
            Some(asked) if !*asked => *asked = true,
            _ => return refuse("this mount was asked for before"),
        }
        Ok(wanted)
    }
}
