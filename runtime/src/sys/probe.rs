//! Feature probes: requests that find out what the running kernel supports, where its version does not decide that.
//!
//! A probe answers yes, no or an error. "No" is only the error number of a kernel without the feature, which each probe names. Any other
//! error (`ENOMEM`, `EMFILE`, ...) does not depend on the feature: it is the error of the load and is not remembered. To add a probe, add a
//! function with a `static` [`Probe`] to the module that uses the feature, and use [`verdict`] or [`compare`] for the errors that mean
//! "no".
//!
//! Must not know the features.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Errno, Error, Step};

/// The maximum number of attempts of a request that a signal interrupted (`EINTR`; `EAGAIN` of the verifier).
const TRIES: u32 = 5;

const UNKNOWN: u8 = 0;
const LACKS: u8 = 1;
const HAS: u8 = 2;

/// A feature of the running kernel, and the answer of its probe once there is one.
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

    /// Returns the answer of an earlier probe, without a request.
    pub(crate) fn known(&self) -> Option<bool> {
        match self.known.load(Ordering::Relaxed) {
            UNKNOWN => None,
            answer => Some(answer == HAS),
        }
    }

    /// Returns the answer, and makes the request if there was none before.
    ///
    /// `request` returns an error for everything that is not an answer. It is repeated if a signal interrupted it.
    pub(crate) fn run(&self, mut request: impl FnMut() -> Result<bool, Errno>) -> crate::Result<bool> {
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
            Err(errno) => Err(Error::refused(format_args!("cannot probe whether this kernel {}", self.what), errno)
                .during(Step::Probe)),
        }
    }
}

/// Returns the answer of a request: yes if it succeeds, no for the errors in `no`, which a kernel without the feature returns.
pub(crate) fn verdict<T>(result: &Result<T, Errno>, no: &[i32]) -> Result<bool, Errno> {
    match result {
        Ok(_) => Ok(true),
        Err(errno) if no.contains(&errno.raw()) => Ok(false),
        Err(errno) => Err(*errno),
    }
}

/// Returns the answer of a request, as [`verdict`] does, but "no" only if the request succeeds `without` the feature. Otherwise its error
/// is returned.
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
        let mut calls = 0;
        let answer = probe.run(|| {
            calls += 1;
            given.next().copied().unwrap_or(Err(libc::EIO)).map_err(Errno::from_raw)
        });
        (answer, calls)
    }

    #[test]
    fn only_answers_are_remembered() {
        static PROBE: Probe = Probe::new("can do it");
        for errno in [libc::ENOMEM, libc::EMFILE, libc::EPERM, libc::EFAULT] {
            let (answer, calls) = answers(&PROBE, &[Err(errno), Ok(false)]);
            let error = answer.unwrap_err();
            assert_eq!((error.errno(), calls, PROBE.known()), (Some(Errno::from_raw(errno)), 1, None));
            assert_eq!(error.step(), Step::Probe, "{error}");
        }
        let (answer, calls) = answers(&PROBE, &[Ok(false), Ok(true)]);
        assert_eq!((answer.unwrap(), calls, PROBE.known()), (false, 1, Some(false)));
        assert_eq!(answers(&PROBE, &[Ok(true)]).1, 0);
    }

    #[test]
    fn interrupted_requests_are_repeated() {
        static PROBE: Probe = Probe::new("can do it");
        let (answer, calls) = answers(&PROBE, &[Err(libc::EAGAIN); 9]);
        assert_eq!((answer.unwrap_err().errno(), calls), (Some(Errno::from_raw(libc::EAGAIN)), 5));
        let (answer, calls) = answers(&PROBE, &[Err(libc::EAGAIN), Err(libc::EINTR), Ok(true)]);
        assert_eq!((answer.unwrap(), calls), (true, 3));
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
