//! The XDP features of network interfaces, by generic netlink (family `netdev`, Linux 6.3).
//!
//! The numbers are those of `linux/genetlink.h` and `linux/netdev.h`.

use std::os::fd::OwnedFd;

use super::IntoInterface;
use crate::error::{Errno, Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::sys::netlink::{self, Message, Rejection};
use crate::uapi::{XdpFeatureFlags, XdpMetadataFlags, XskFeatureFlags};

/// The XDP features of a network interface, as its driver reports them.
///
/// ```no_run
/// use skelgen_runtime::link::{XdpFeatures, XdpMode};
/// use skelgen_runtime::uapi::XdpFeatureFlags;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let can_redirect = XdpFeatures::of_interface("eth0")?.flags.contains(XdpFeatureFlags::REDIRECT);
/// let link = program.attach_xdp("eth0", if can_redirect { XdpMode::Native } else { XdpMode::Skb })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct XdpFeatures {
    /// The XDP features of the driver. Empty if the driver does not support XDP; programs of
    /// [`XdpMode::Skb`](super::XdpMode::Skb) run nevertheless.
    pub flags: XdpFeatureFlags,
    /// The maximum number of fragments of a packet for zero-copy AF_XDP sockets (Linux 6.6), or 0 if the interface does
    /// not support such sockets.
    pub zero_copy_segments: u32,
    /// The metadata of received packets that programs can read (Linux 6.7).
    pub metadata: XdpMetadataFlags,
    /// The features of AF_XDP sockets for sent packets (Linux 6.8).
    pub xsk: XskFeatureFlags,
}

impl XdpFeatures {
    /// Returns the XDP features of a network interface (Linux 6.3).
    ///
    /// # Errors
    /// If the interface does not exist, or the kernel does not report its features.
    pub fn of_interface(interface: impl IntoInterface) -> Result<Self> {
        let interface = interface.into_interface().map_err(|error| error.within("cannot query XDP features"))?;
        let read = || {
            let socket = netlink::open_generic()?;
            // A kernel without the family `netdev` does not support the request.
            let family = family(&socket)?;
            let mut message = Message::new(family, 0, &[GET_DEVICE, VERSION, 0, 0]);
            message.attribute(INDEX, &interface.index().to_ne_bytes());
            let mut found = None;
            netlink::request(&socket, &message, |kind, body| {
                if kind == family {
                    found = Some(Self::read(body.get(4..).unwrap_or(&[])));
                }
            })?;
            found.ok_or(Rejection::from(Errno::from_raw(libc::EPROTO)))
        };
        read().map_err(|rejection| {
            let context = format!("cannot query the XDP features of {}", interface.label());
            let error = Error::refused(context, rejection.errno).during(Step::ReadInfo);
            let error = error.about(Subject::Interface(interface.index()));
            match rejection.errno.raw() {
                libc::ENOENT => {
                    causes::since(error, LinuxVersion::new(6, 3), "XDP features can be queried since Linux 6.3")
                }
                _ => interface.explain(error, &rejection),
            }
        })
    }

    /// Reads the attributes of a device.
    fn read(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for (kind, value) in netlink::attributes(bytes) {
            match kind {
                FEATURES => found.flags = XdpFeatureFlags::from_bits(netlink::wide(value, 0).unwrap_or(0)),
                SEGMENTS => found.zero_copy_segments = netlink::word(value, 0).unwrap_or(0),
                METADATA => found.metadata = XdpMetadataFlags::from_bits(netlink::wide(value, 0).unwrap_or(0)),
                XSK => found.xsk = XskFeatureFlags::from_bits(netlink::wide(value, 0).unwrap_or(0)),
                _ => {}
            }
        }
        found
    }
}

/// Finds the number of the family `netdev`, which is the kind of its messages.
fn family(socket: &OwnedFd) -> Result<u16, Rejection> {
    let mut message = Message::new(CONTROL, 0, &[GET_FAMILY, 1, 0, 0]);
    message.text(FAMILY_NAME, "netdev");
    let mut found = None;
    netlink::request(socket, &message, |_, body| {
        let mut attributes = netlink::attributes(body.get(4..).unwrap_or(&[]));
        let id = attributes.find(|(kind, _)| *kind == FAMILY_ID).and_then(|(_, value)| value.first_chunk().copied());
        found = found.or(id.map(u16::from_ne_bytes));
    })?;
    found.ok_or(Errno::from_raw(libc::ENOENT).into())
}

/// `GENL_ID_CTRL` with `CTRL_CMD_GETFAMILY`, with its attributes `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME`.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET` and `NETDEV_FAMILY_VERSION`, with its attributes `NETDEV_A_DEV_IFINDEX`, `NETDEV_A_DEV_XDP_FEATURES`,
/// `NETDEV_A_DEV_XDP_ZC_MAX_SEGS`, `NETDEV_A_DEV_XDP_RX_METADATA_FEATURES`, `NETDEV_A_DEV_XSK_FEATURES`.
const GET_DEVICE: u8 = 1;
const VERSION: u8 = 1;
const INDEX: u16 = 1;
const FEATURES: u16 = 3;
const SEGMENTS: u16 = 4;
const METADATA: u16 = 5;
const XSK: u16 = 6;
