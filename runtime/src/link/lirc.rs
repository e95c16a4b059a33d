//! Attaching programs to infrared receivers.

use std::os::fd::AsFd;

use super::Link;
use crate::error::Result;
use crate::program::Program;
use crate::uapi::AttachType;

impl Program {
    /// Attaches to an infrared receiver (Linux 4.18): the program decodes the pulses that the device of a `/dev/lirc*`
    /// file reports in raw mode (`SEC("lirc_mode2")`). The kernel has no link for this. The program is detached when
    /// the [`Link`] is dropped; after [`Link::leak`] it stays attached as long as the device exists.
    ///
    /// # Errors
    /// If the program was not loaded, the file is not a receiver in raw mode, the receiver already has 64 programs, or
    /// the kernel rejects the program.
    ///
    /// # Examples
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// let receiver = std::fs::File::open("/dev/lirc0")?;
    /// let _link = program.attach_lirc(receiver)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach_lirc(&self, device: impl AsFd) -> Result<Link> {
        let types = [AttachType::LIRC_MODE2];
        self.attach_without_link("an infrared receiver", device.as_fd(), &types, 0, |error, errno| match errno.raw() {
            libc::EINVAL => {
                error.with_help("open the `/dev/lirc*` file of a receiver in raw mode; `ir-ctl` lists them")
            }
            libc::EEXIST => error.note("the program is already attached to the device"),
            libc::E2BIG => error.note("the device has 64 programs, the kernel's limit"),
            _ => error,
        })
    }
}
