// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of the socket. The peer may be a container's process that an attacker has taken over. It can ask
//! only for the plan's own mounts, for each once, and after a bounded number of refusals the host's side gives up.

use std::os::fd::{AsFd, RawFd};

use rustix::io::Errno;
use rustix::net::ReturnFlags;

use super::wire::{Answer, REQUEST, Received, Socket, decode_request};
use super::{Namespaces, Need, Wanted, open_wanted};
use crate::error::{During, Error, Result};
use crate::plan::Plan;
use crate::sys::fd::CallersFd;

/// An honest peer is never refused.
const MAX_REFUSALS: usize = 16;

/// Answers requests until the peer closes its end.
pub fn serve(plan: &Plan, socket: RawFd, userns: RawFd, mntns: RawFd) -> Result<()> {
    let mut server = Server::new(plan, userns, mntns)?;
    let fd = borrow(socket)?;
    let socket = Socket::new(fd.as_fd())?;
    while server.answer(&socket)? {
        if server.refusals > MAX_REFUSALS {
            return Err(Error::check(
                Errno::PROTO,
                format_args!(
                    "the container's process asked {MAX_REFUSALS} times for mounts that it may not have"
                ),
            ));
        }
    }
    Ok(())
}

/// Answers one request. False if the peer has closed its end.
pub fn answer(plan: &Plan, socket: RawFd, userns: RawFd, mntns: RawFd) -> Result<bool> {
    let fd = borrow(socket)?;
    Server::new(plan, userns, mntns)?.answer(&Socket::new(fd.as_fd())?)
}

fn borrow(socket: RawFd) -> Result<CallersFd> {
    CallersFd::new(socket)
        .during("fcntl", b"socket")
        .map_err(|error| error.explain(format_args!("socket {socket} is not open")))
}

struct Server<'a> {
    plan: &'a Plan,
    namespaces: Namespaces<'a>,
    /// Whether each mount, and the rootfs, was asked for already.
    asked: Vec<bool>,
    refusals: usize,
}

impl<'a> Server<'a> {
    fn new(plan: &'a Plan, userns: RawFd, mntns: RawFd) -> Result<Self> {
        Ok(Server {
            plan,
            namespaces: Namespaces::new(userns, mntns)?,
            asked: vec![false; plan.configured_mounts + 1],
            refusals: 0,
        })
    }

    /// Answers one request. False if the peer has closed its end.
    fn answer(&mut self, socket: &Socket<'_>) -> Result<bool> {
        let mut packet = [0; REQUEST];
        let received = socket.receive(&mut packet, None).during("recvmsg", b"")?;
        let index = match received {
            Received::End => return Ok(false),
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
        let answered = match self.open_allowed(index) {
            Ok(opened) => socket.send(&Answer::giving(index).encode(), Some(opened.as_fd()), false),
            Err(error) => socket.send(&Answer::refusing(index, &error).encode(), None, false),
        };
        match answered {
            Ok(()) => Ok(true),
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(false),
            Err(Errno::AGAIN | Errno::TOOMANYREFS) => Err(Error::check(
                Errno::PROTO,
                "the container's process asks, but does not take the answers",
            )),
            Err(errno) => Err(Error::system(errno, "sendmsg")),
        }
    }

    fn open_allowed(&mut self, index: u64) -> Result<std::os::fd::OwnedFd> {
        let wanted = self.allowed(index).inspect_err(|_| self.refusals += 1)?;
        open_wanted(self.plan, wanted, &mut self.namespaces)
    }

    fn allowed(&mut self, index: u64) -> Result<Wanted<'a>> {
        let refuse = |sentence| Err(Error::check(Errno::PERM, sentence));
        let Ok(wanted) = Wanted::of(self.plan, index) else {
            return refuse("there is no such mount in the plan");
        };
        if wanted.need() == Need::Never {
            return refuse("the container's process makes this mount itself");
        }
        let (position, takes_descriptor) = match wanted {
            Wanted::Mount(mount) => (mount.index, mount.takes_descriptor()),
            Wanted::Rootfs(_) => (self.plan.configured_mounts, self.plan.rootfs.fd.is_some()),
            Wanted::PassedOver(_) => return refuse("this mount is optional, and was passed over"),
        };
        if takes_descriptor {
            return Err(Error::check(
                Errno::OPNOTSUPP,
                "the source is a descriptor of the container's process (source_fd, rootfs_fd), which the \
                    host's side can't open",
            ));
        }
        match self.asked.get_mut(position) {
            Some(asked) if !*asked => *asked = true,
            _ => return refuse("this mount was asked for before"),
        }
        Ok(wanted)
    }
}
