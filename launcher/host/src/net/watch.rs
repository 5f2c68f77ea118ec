//! The thread that watches the host's interfaces: up, down, deleted, made
//! again. The thread sleeps in recv(2) of a netlink socket (rtnetlink(7)) for the
//! life of the process, and notifies the taps ([`super::reattach`]).

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use devices::threads;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily as Family, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

use super::tap::Tap;

/// The multicast group with events of interfaces (RTMGRP_LINK).
const LINK_GROUP: u32 = 1;

/// The size in bytes of the kernel's largest message (NLMSG_GOODSIZE, or one page).
const LARGEST: usize = 32 << 10;

/// Watch the interfaces of `taps`.
pub(super) fn start(taps: Vec<Arc<Tap>>) -> Result<()> {
    let kind = (AddressFamily::Netlink, SockType::Raw, SockProtocol::NetlinkRoute);
    let socket = socket(kind.0, kind.1, SockFlag::SOCK_CLOEXEC, kind.2)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINK_GROUP))?;
    ask(&socket)?;
    let body = move || {
        if let Err(error) = watch(&socket, &taps) {
            log::error!("watching network interfaces: {error:#}; their state is not followed");
        }
    };
    threads::start("netlink", body).context("starting a thread")?;
    Ok(())
}

/// Ask the kernel for the state of all interfaces.
fn ask(socket: &OwnedFd) -> Result<()> {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    Ok(())
}

fn watch(socket: &OwnedFd, taps: &[Arc<Tap>]) -> Result<()> {
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            // The socket has lost events: ask for the state that they led to.
            Err(Errno::ENOBUFS) => {
                ask(socket)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
            let length = usize::try_from(message.header.length)?.next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
            handle(&message.payload, taps);
        }
    }
}

/// Handle one message, which may be about one of the taps.
fn handle(payload: &NetlinkPayload<RouteNetlinkMessage>, taps: &[Arc<Tap>]) {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) if is_whole(link) => {
            let up = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
            for tap in taps {
                tap.seen(link.header.index, name(link), up);
            }
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) if is_whole(link) => {
            for tap in taps {
                tap.lost(link.header.index);
            }
        }
        _ => {}
    }
}

/// Whether a message describes an interface. Bridges also report their ports in messages of this
/// kind.
fn is_whole(link: &LinkMessage) -> bool {
    link.header.interface_family == Family::Unspec
}

fn name(link: &LinkMessage) -> &str {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    });
    name.unwrap_or_default()
}
