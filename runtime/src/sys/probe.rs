//! Feature probes: requests that determine whether the running kernel has a feature. Its version would not suffice,
//! because distributions backport features.
//!
//! The result of a probe is yes, no or an error. Each probe lists the error numbers of kernels without the feature, and
//! only these mean "no". Any other error (`ENOMEM`, `EMFILE`, ...) does not depend on the feature: it is returned as
//! the error of the load, and not cached. To add a probe, add a function with a `static` [`Probe`] to the module that
//! uses the feature, and use [`verdict`] or [`compare`] for the errors that mean "no".
//!
//! This module does not know the features.

use std::cell::RefCell;
use std::fmt::Display;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Errno, Error, Step};

/// The maximum number of attempts of a request that a signal interrupted (`EINTR`; `EAGAIN` of the verifier).
const TRIES: u32 = 5;

const UNKNOWN: u8 = 0;
const LACKS: u8 = 1;
const HAS: u8 = 2;

/// A feature of the running kernel, and the cached answer of its probe.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The text after "whether this kernel" in an error.
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

    /// Returns the cached answer or, if there is none, sends the request and caches the answer.
    ///
    /// `request` returns an error unless it has an answer. It is repeated if a signal interrupted it.
    pub(crate) fn run(&self, mut request: impl FnMut() -> Result<bool, Errno>) -> crate::Result<bool> {
        if let Some(answer) = self.known() {
            return Ok(answer);
        }
        let answer = ask(self.what, &mut request)?;
        self.known.store(if answer { HAS } else { LACKS }, Ordering::Relaxed);
        record(self.what, answer);
        Ok(answer)
    }
}

thread_local! {
    /// The answers that probes of this thread got, while they are recorded.
    static ANSWERS: RefCell<Option<Vec<Answer>>> = const { RefCell::new(None) };
}

/// The text of a probe, and its answer.
type Answer = (&'static str, bool);

/// Records the answers that probes of this thread get until it is dropped. Recordings can be nested.
#[derive(Debug)]
pub(crate) struct Recording {
    before: Option<Vec<Answer>>,
}

impl Recording {
    pub(crate) fn start() -> Self {
        Self { before: ANSWERS.replace(Some(Vec::new())) }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        ANSWERS.set(self.before.take());
    }
}

/// Returns the answers that were recorded since the last call.
pub(crate) fn take_answers() -> Vec<Answer> {
    ANSWERS.with_borrow_mut(|answers| answers.as_mut().map(std::mem::take).unwrap_or_default())
}

fn record(what: &'static str, answer: bool) {
    ANSWERS.with_borrow_mut(|answers| answers.iter_mut().for_each(|answers| answers.push((what, answer))));
}

/// Returns the answer of a probe, which is not cached. `what` is the text after "whether this kernel" in an error, and
/// `request` is as in [`Probe::run`].
pub(crate) fn ask<T>(what: impl Display, mut request: impl FnMut() -> Result<T, Errno>) -> crate::Result<T> {
    let mut result = request();
    for _ in 1..TRIES {
        if !matches!(&result, Err(errno) if [libc::EINTR, libc::EAGAIN].contains(&errno.raw())) {
            break;
        }
        result = request();
    }
    result.map_err(|errno| {
        Error::refused(format_args!("cannot probe whether this kernel {what}"), errno).during(Step::Probe)
    })
}

/// Returns the answer of a request: yes if it succeeds, no for the errors in `no`, which a kernel without the feature returns.
pub(crate) fn verdict<T>(result: &Result<T, Errno>, no: &[i32]) -> Result<bool, Errno> {
    match result {
        Ok(_) => Ok(true),
        Err(errno) if no.contains(&errno.raw()) => Ok(false),
        Err(errno) => Err(*errno),
    }
}

/// Returns the answer of a request, as [`verdict`] does, but "no" only if the request `without` the feature succeeds.
/// If the second request fails, returns its error.
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

/// Returns the answer of a probe, or `otherwise` if the process has no permission to probe (`EPERM`).
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
    fn answers_are_recorded_in_order() {
        static PROBE: Probe = Probe::new("can do this");
        static OTHER: Probe = Probe::new("can do that");
        let recording = Recording::start();
        assert!(answers(&PROBE, &[Ok(true)]).0.unwrap() && !answers(&OTHER, &[Ok(false)]).0.unwrap());
        {
            let _nested = Recording::start();
        }
        assert_eq!(take_answers(), [("can do this", true), ("can do that", false)]);
        assert!(
            PROBE.run(|| Ok(false)).unwrap() && take_answers().is_empty(),
            "remembered answers need not be requested"
        );
        drop(recording);
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
