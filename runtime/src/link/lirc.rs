//! Programs of infrared receivers.

use std::os::fd::AsFd;

use super::Link;
use super::undo::How;
use crate::error::Result;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::AttachType;

impl Program {
    /// Attaches to an infrared receiver (Linux 4.18): the program decodes the pulses that the device of a `/dev/lirc*` file reports in raw
    /// mode (`SEC("lirc_mode2")`). The kernel has no link for it: the program is detached when the [`Link`] is dropped; after
    /// [`Link::leak`] it stays for as long as the device does.
    ///
    /// # Errors
    /// If it was not loaded, the file is not that of a receiver in raw mode, or the kernel rejects it: 64 programs are its limit.
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
        let (program, device) = (self.fd()?, device.as_fd());
        let io = |error: std::io::Error| self.not_attached("an infrared receiver", &error);
        let kept = program.try_clone_to_owned().map_err(io)?;
        let how = How::Program {
            program: program.try_clone_to_owned().map_err(io)?,
            target: device.try_clone_to_owned().map_err(io)?,
            attach_type: AttachType::LIRC_MODE2,
        };
        sys::attach(program, device, AttachType::LIRC_MODE2, 0, None).map_err(|errno| {
            let error = self.refused("an infrared receiver", errno);
            match errno.raw() {
                libc::EINVAL => {
                    error.with_help("open the `/dev/lirc*` file of a receiver in raw mode, as `ir-ctl` lists them")
                }
                libc::EEXIST => error.note("the program is attached to the device"),
                libc::E2BIG => error.note("the device has 64 programs, which is the kernel's limit"),
                _ => error,
            }
        })?;
        Ok(Link::undone(kept, self.name(), how))
    }
}
