//! Feature probes: requests that find out what the running kernel can do where there is no version to ask.
//!
//! A probe answers yes, no or an error. "No" is only what a kernel without the feature answers, which every probe names; whatever else
//! goes wrong (`ENOMEM`, `EMFILE`, ...) says nothing about the kernel, is the error of the load, and is not remembered. To add one: a
//! `static` [`Probe`] in a function beside what it is about, and [`verdict`] or [`compare`] for the errors that mean "no".
//!
//! Must not know what is asked.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Errno, Error};

/// How often a request is made that the kernel broke off for a signal (`EINTR`; `EAGAIN` of the verifier).
const TRIES: u32 = 5;

const UNKNOWN: u8 = 0;
const LACKS: u8 = 1;
const HAS: u8 = 2;

/// A feature of the running kernel that is probed for, and its answer once there is one.
#[derive(Debug)]
pub(crate) struct Probe {
    /// What follows "whether this kernel" in an error.
    what: &'static str,
    known: AtomicU8,
}

impl Probe {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, known: AtomicU8::new(UNKNOWN) }
    }

    /// Returns the answer without a request, if an earlier probe gave one.
    pub(crate) fn known(&self) -> Option<bool> {
        match self.known.load(Ordering::Relaxed) {
            UNKNOWN => None,
            answer => Some(answer == HAS),
        }
    }

    /// Returns the answer, probing for it if it is not known yet.
    ///
    /// `request` returns an error for everything that is not an answer. It is made again if a signal ended it.
    pub(crate) fn ask(&self, mut request: impl FnMut() -> Result<bool, Errno>) -> crate::Result<bool> {
        if let Some(answer) = self.known() {
            return Ok(answer);
        }
        let mut result = request();
        for _ in 1..TRIES {
            if !result.is_err_and(|errno| [libc::EINTR, libc::EAGAIN].contains(&errno.raw())) {
                break;
            }
            result = request();
        }
        match result {
            Ok(answer) => {
                self.known.store(if answer { HAS } else { LACKS }, Ordering::Relaxed);
                Ok(answer)
            }
            Err(errno) => Err(Error::refused(format_args!("finding out whether this kernel {}", self.what), errno)),
        }
    }
}

/// Returns what a request says about a feature: yes if it succeeds, no for these errors, which a kernel without the feature answers.
pub(crate) fn verdict<T>(result: &Result<T, Errno>, no: &[i32]) -> Result<bool, Errno> {
    match result {
        Ok(_) => Ok(true),
        Err(errno) if no.contains(&errno.raw()) => Ok(false),
        Err(errno) => Err(*errno),
    }
}

/// Returns the same, where the same request without the feature must succeed for a no: the error of one that does not is returned.
pub(crate) fn compare(
    with: Result<(), Errno>,
    no: &[i32],
    without: impl FnOnce() -> Result<(), Errno>,
) -> Result<bool, Errno> {
    let has = verdict(&with, no)?;
    if !has {
        without()?;
    }
    Ok(has)
}

/// Returns the answer of a probe, or `otherwise` if the process has no rights to probe (`EPERM`).
pub(crate) fn without_rights(answer: crate::Result<bool>, otherwise: bool) -> crate::Result<bool> {
    answer.or_else(|error| match error.errno() {
        Some(errno) if errno.raw() == libc::EPERM => Ok(otherwise),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(probe: &Probe, given: &[Result<bool, i32>]) -> (crate::Result<bool>, usize) {
        let mut given = given.iter();
        let mut asked = 0;
        let answer = probe.ask(|| {
            asked += 1;
            given.next().copied().unwrap_or(Err(libc::EIO)).map_err(Errno::from_raw)
        });
        (answer, asked)
    }

    #[test]
    fn only_answers_are_remembered() {
        static PROBE: Probe = Probe::new("can do it");
        for errno in [libc::ENOMEM, libc::EMFILE, libc::EPERM, libc::EFAULT] {
            let (answer, asked) = answers(&PROBE, &[Err(errno), Ok(false)]);
            let error = answer.unwrap_err();
            assert_eq!((error.errno(), asked, PROBE.known()), (Some(Errno::from_raw(errno)), 1, None));
            assert!(error.to_string().starts_with("finding out whether this kernel can do it: "), "{error}");
        }
        let (answer, asked) = answers(&PROBE, &[Ok(false), Ok(true)]);
        assert_eq!((answer.unwrap(), asked, PROBE.known()), (false, 1, Some(false)));
        assert_eq!(answers(&PROBE, &[Ok(true)]).1, 0);
    }

    #[test]
    fn what_a_signal_ended_is_made_again() {
        static PROBE: Probe = Probe::new("can do it");
        let (answer, asked) = answers(&PROBE, &[Err(libc::EAGAIN); 9]);
        assert_eq!((answer.unwrap_err().errno(), asked), (Some(Errno::from_raw(libc::EAGAIN)), 5));
        let (answer, asked) = answers(&PROBE, &[Err(libc::EAGAIN), Err(libc::EINTR), Ok(true)]);
        assert_eq!((answer.unwrap(), asked), (true, 3));
    }

    #[test]
    fn only_named_errors_are_a_no_and_only_if_the_rest_succeeds() {
        fn errno<T>(number: i32) -> Result<T, Errno> {
            Err(Errno::from_raw(number))
        }
        assert_eq!(verdict::<()>(&errno(libc::E2BIG), &[libc::E2BIG]), Ok(false));
        assert_eq!(verdict::<()>(&errno(libc::EINVAL), &[libc::E2BIG]), errno(libc::EINVAL));
        assert_eq!(compare(errno(libc::E2BIG), &[libc::E2BIG], || Ok(())), Ok(false));
        assert_eq!(compare(errno(libc::E2BIG), &[libc::E2BIG], || errno(libc::ENOMEM)), errno(libc::ENOMEM));
    }
}
