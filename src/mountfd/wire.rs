// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packets on the socket. A request holds only a mount's index. An answer carries the descriptor or tells what
//! went wrong. Both have fixed sizes and this machine's byte order, because both ends are one program on one machine.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::sockopt::{socket_domain, socket_passcred, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType,
};

use crate::error::{During, Error, Result};
use crate::text::Text;

pub const REQUEST: usize = 16;
pub const ANSWER: usize = 512;
const MESSAGE: usize = ANSWER - 24;

/// The first bytes of a packet: "rfsM", and the version of the rest.
const MAGIC: u64 = 0x7266_734d_0000_0001;

pub fn encode_request(index: u64) -> [u8; REQUEST] {
    let mut packet = [0; REQUEST];
    packet[..8].copy_from_slice(&MAGIC.to_ne_bytes());
    packet[8..].copy_from_slice(&index.to_ne_bytes());
    packet
}

/// `None` if the packet is not a request.
pub fn decode_request(packet: &[u8; REQUEST]) -> Option<u64> {
    (number(packet, 0) == MAGIC).then(|| number(packet, 8))
}

/// The answer to the request for `index`: an errno and its message. With errno 0 a descriptor comes along.
pub struct Answer {
    pub index: u64,
    pub errno: i32,
    pub message: Text<MESSAGE>,
}

impl Answer {
    /// The answer with which a descriptor comes along.
    pub fn giving(index: u64) -> Self {
        Answer {
            index,
            errno: 0,
            message: Text::new(),
        }
    }

    pub fn refusing(index: u64, error: &Error) -> Self {
        Answer {
            index,
            errno: error.errno.raw_os_error(),
            message: Text::format(error),
        }
    }

    pub fn encode(&self) -> [u8; ANSWER] {
        let mut packet = [0; ANSWER];
        packet[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        packet[8..16].copy_from_slice(&self.index.to_ne_bytes());
        packet[16..20].copy_from_slice(&self.errno.to_ne_bytes());
        let text = self.message.as_bytes();
        packet[20..24].copy_from_slice(&(text.len() as u32).to_ne_bytes());
        packet[24..24 + text.len()].copy_from_slice(text);
        packet
    }

    /// `None`: not an answer, which says why it gives nothing.
    pub fn decode(packet: &[u8; ANSWER]) -> Option<Self> {
        let half = |at: usize| [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]];
        let errno = i32::from_ne_bytes(half(16));
        let length = u32::from_ne_bytes(half(20)) as usize;
        let text = packet.get(24..24 + length.min(MESSAGE))?;
        let is_whole = errno == 0 || !text.is_empty();
        // The kernel's largest errno is MAX_ERRNO.
        let is_errno = (0..=4095).contains(&errno);
        (number(packet, 0) == MAGIC && is_errno && is_whole).then(|| Answer {
            index: number(packet, 8),
            errno,
            message: Text::path(text),
        })
    }
}

fn number(packet: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&packet[at..at + 8]);
    u64::from_ne_bytes(bytes)
}

/// A descriptor of the caller. It was checked to be a socket that tells when the peer has closed its end.
pub struct Socket<'a> {
    fd: BorrowedFd<'a>,
    keeps_packets: bool,
    waits: bool,
    /// The socket has SO_PASSCRED, so the peer's credentials come with each packet, before a descriptor.
    passes_credentials: bool,
}

/// What was received.
pub enum Received {
    /// Nothing, because the peer has closed its end.
    End,
    /// A whole packet, with its flags.
    Whole(ReturnFlags),
    /// A packet of too few or too many bytes.
    WrongLength,
}

impl<'a> Socket<'a> {
    pub fn new(fd: BorrowedFd<'a>) -> Result<Self> {
        let kind = socket_type(fd).during("getsockopt", b"socket")?;
        let usable = kind == SocketType::SEQPACKET || kind == SocketType::STREAM;
        if !usable || socket_domain(fd).during("getsockopt", b"socket")? != AddressFamily::UNIX {
            return Err(Error::invalid(
                "the socket must be one of a pair that socketpair(2) makes for AF_UNIX with SOCK_SEQPACKET or \
                    SOCK_STREAM",
            ));
        }
        let flags = rustix::fs::fcntl_getfl(fd).during("fcntl", b"socket")?;
        Ok(Socket {
            fd,
            keeps_packets: kind == SocketType::SEQPACKET,
            waits: !flags.contains(rustix::fs::OFlags::NONBLOCK),
            passes_credentials: socket_passcred(fd).during("getsockopt", b"socket")?,
        })
    }

    /// Sends a whole packet without SIGPIPE. With `wait` it waits until the peer has room for it.
    pub fn send(
        &self,
        packet: &[u8],
        fd: Option<BorrowedFd<'_>>,
        wait: bool,
    ) -> rustix::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.as_slice();
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = if wait {
            SendFlags::NOSIGNAL
        } else {
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT
        };
        loop {
            match rustix::net::sendmsg(self.fd, &[IoSlice::new(packet)], &mut control, flags) {
                Ok(sent) if sent == packet.len() => return Ok(()),
                // There is no room for so small a packet, so the peer does not read the packets sent before.
                Ok(_) => return Err(Errno::AGAIN),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if wait && !self.waits => {
                    self.poll(rustix::event::PollFlags::OUT)?;
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Receives a whole packet, and the first descriptor that comes with it if one is wanted. The kernel drops other
    /// descriptors, or this function closes them.
    pub fn receive(
        &self,
        packet: &mut [u8],
        mut wanted: Option<&mut Option<OwnedFd>>,
    ) -> rustix::io::Result<Received> {
        const DESCRIPTOR: usize = rustix::cmsg_space!(ScmRights(1));
        const CREDENTIALS: usize = rustix::cmsg_space!(ScmCredentials(1));
        let mut space = [MaybeUninit::uninit(); DESCRIPTOR + CREDENTIALS];
        // Without room for control data the kernel gives this process no descriptor, but tells that there was one.
        let room = usize::from(wanted.is_some()) * DESCRIPTOR
            + usize::from(self.passes_credentials) * CREDENTIALS;
        let mut filled = 0;
        let mut all_flags = ReturnFlags::empty();
        while filled < packet.len() {
            let mut control = RecvAncillaryBuffer::new(&mut space[..room]);
            let mut rest = [IoSliceMut::new(&mut packet[filled..])];
            let received =
                rustix::net::recvmsg(self.fd, &mut rest, &mut control, RecvFlags::CMSG_CLOEXEC);
            let received = match received {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                // The peer closed its end before it had read everything.
                Err(Errno::CONNRESET) => return Ok(Received::End),
                Err(Errno::AGAIN) if !self.waits => {
                    self.poll(rustix::event::PollFlags::IN)?;
                    continue;
                }
                Err(errno) => return Err(errno),
            };
            if let Some(place) = wanted.as_deref_mut() {
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = message {
                        for fd in fds {
                            place.get_or_insert(fd);
                        }
                    }
                }
            }
            all_flags |= received.flags;
            filled += received.bytes;
            let too_long = received.flags.contains(ReturnFlags::TRUNC);
            match received.bytes {
                0 if filled == 0 => return Ok(Received::End),
                0 => return Ok(Received::WrongLength),
                _ if too_long || (self.keeps_packets && filled < packet.len()) => {
                    return Ok(Received::WrongLength);
                }
                _ => {}
            }
        }
        Ok(Received::Whole(all_flags))
    }

    fn poll(&self, events: rustix::event::PollFlags) -> rustix::io::Result<()> {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(
            self.fd.as_fd(),
            events,
        )];
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_as_they_were() {
        assert_eq!(decode_request(&encode_request(7)), Some(7));
        assert_eq!(decode_request(&[0; REQUEST]), None);
        let answer = Answer {
            index: u64::MAX,
            errno: 22,
            message: Text::format("because"),
        };
        let again = Answer::decode(&answer.encode()).unwrap();
        assert_eq!(
            (again.index, again.errno, again.message.as_str()),
            (u64::MAX, 22, "because")
        );
        assert!(Answer::decode(&[0; ANSWER]).is_none());
        let mut packet = answer.encode();
        packet[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(Answer::decode(&packet).is_some_and(|it| it.message.as_bytes().len() <= MESSAGE));
        packet[20..24].copy_from_slice(&0_u32.to_ne_bytes());
        assert!(Answer::decode(&packet).is_none());
        packet[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert!(Answer::decode(&packet).is_none());
    }
}
