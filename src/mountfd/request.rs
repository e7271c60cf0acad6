// SPDX-License-Identifier: MIT OR Apache-2.0
//! The container's side of the socket. It allocates nothing.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::wire::{ANSWER, Answer, Received, Socket, encode_request};
use crate::error::{During, Error, Result};
use crate::sys::fd::CallersFd;

/// Asks for a mount of the plan that both sides have.
pub fn request(socket: RawFd, index: u64) -> Result<OwnedFd> {
    let borrowed = CallersFd::new(socket)
        .during("fcntl", b"socket")
        .map_err(|error| error.explain(format_args!("socket {socket} is not open")))?;
    let socket = Socket::new(borrowed.as_fd())?;
    let gone = || {
        Error::check(
            Errno::CONNRESET,
            "the host's side is gone: rfs_mountfd_serve() has returned there, and its error tells why",
        )
    };
    match socket.send(&encode_request(index), None, true) {
        Err(Errno::PIPE | Errno::CONNRESET) => return Err(gone()),
        sent => sent.during("sendmsg", b"")?,
    }
    let mut packet = [0; ANSWER];
    let mut opened = None;
    let received = socket
        .receive(&mut packet, Some(&mut opened))
        .during("recvmsg", b"")?;
    let answer = match received {
        Received::End => return Err(gone()),
        Received::Whole(_) => Answer::decode(&packet).filter(|answer| answer.index == index),
        Received::WrongLength => None,
    };
    let answer = answer.ok_or_else(|| {
        Error::check(
            Errno::BADMSG,
            "what came over the socket is no answer of rfs_mountfd_serve()",
        )
    })?;
    if answer.errno != 0 {
        let errno = Errno::from_raw_os_error(answer.errno);
        return Err(Error::check(errno, answer.message.as_str()));
    }
    opened.ok_or_else(|| {
        Error::check(
            Errno::MFILE,
            "the mount's descriptor did not arrive: this process has as many as it may (RLIMIT_NOFILE)",
        )
    })
}
