//! The host's side of the socket. The peer may be a container's process that was taken over: it can ask for no
//! more than the plan's own mounts, each once, and be refused a bounded number of times.

use std::os::fd::{AsFd, RawFd};

use rustix::io::Errno;
use rustix::net::ReturnFlags;

use super::wire::{Answer, REQUEST, Received, Socket, decode_request};
use super::{Namespaces, Need, need, open};
use crate::error::{During, Error, Result, Text};
use crate::plan::{Mount, Plan};
use crate::sys::fd;

/// An honest peer is never refused.
const MAX_REFUSALS: usize = 16;

/// Answers until the peer closes its end.
pub fn serve(plan: &Plan, socket: RawFd, userns: RawFd) -> Result<()> {
    let borrowed = fd::borrow(socket)
        .during("fcntl", b"socket")
        .map_err(|error| error.explain(format_args!("socket {socket} is not open")))?;
    let socket = Socket::new(borrowed)?;
    let mut server = Server {
        plan,
        namespaces: Namespaces::new(userns)?,
        asked: vec![false; plan.mounts.len()],
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
    /// Of each mount.
    asked: Vec<bool>,
    refusals: usize,
}

impl<'a> Server<'a> {
    fn open(&mut self, index: u64) -> Result<std::os::fd::OwnedFd> {
        let mount = self.allowed(index).inspect_err(|_| self.refusals += 1)?;
        open(self.plan, mount, &mut self.namespaces)
    }

    fn allowed(&mut self, index: u64) -> Result<&'a Mount> {
        let refuse = |sentence| Err(Error::check(Errno::PERM, sentence));
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(mount) = self.plan.mounts.get(position) else {
            return refuse("there is no such mount in the plan");
        };
        if need(mount) == Need::Never {
            return refuse("the container's process makes this mount itself");
        }
        if mount.takes_descriptor() {
            return Err(Error::check(
                Errno::OPNOTSUPP,
                "the source is a descriptor of the container's process (source_fd), which the host's side can't open",
            ));
        }
        if core::mem::replace(&mut self.asked[position], true) {
            return refuse("this mount was asked for before");
        }
        Ok(mount)
    }
}
