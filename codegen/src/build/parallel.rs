//! Work on several items at a time, with a report of items that take long. This module does not know the work.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long an item may take before it is reported.
const LONG: Duration = Duration::from_secs(1);

/// A report of a thread about the item with this index.
enum Event<R> {
    Begun(usize),
    Done(usize, R),
}

/// Returns the number of items to work on at a time: `NUM_JOBS`, which cargo sets for build scripts, or the number of
/// CPUs.
pub(super) fn jobs() -> usize {
    let of_cargo = std::env::var("NUM_JOBS").ok().and_then(|number| number.parse().ok());
    of_cargo.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// Calls `work` for each item, for up to `jobs` items at a time, and returns the results in the order of the items.
/// Calls `report` once for each item that takes longer than [`LONG`], while it is worked on.
pub(super) fn map<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    mut report: impl FnMut(&T),
) -> Vec<R> {
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let (next, work) = (&AtomicUsize::new(0), &work);
    thread::scope(|scope| {
        let (events, received) = mpsc::channel();
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            let events = events.clone();
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    // Sending cannot fail: the receiver is dropped after all senders.
                    let _ = events.send(Event::Begun(index));
                    let _ = events.send(Event::Done(index, work(item)));
                }
            });
        }
        drop(events);
        // The items in progress that were not reported, oldest first.
        let mut running: Vec<(usize, Instant)> = Vec::new();
        loop {
            let wait = running.first().map_or(LONG, |(_, begun)| LONG.saturating_sub(begun.elapsed()));
            match received.recv_timeout(wait) {
                Ok(Event::Begun(index)) => running.push((index, Instant::now())),
                Ok(Event::Done(index, result)) => {
                    running.retain(|(other, _)| *other != index);
                    if let Some(place) = results.get_mut(index) {
                        *place = Some(result);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    running.retain(|(index, begun)| {
                        let is_long = begun.elapsed() >= LONG;
                        if let Some(item) = items.get(*index).filter(|_| is_long) {
                            report(item);
                        }
                        !is_long
                    });
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order() {
        let items: Vec<u64> = (0..20).collect();
        let work = |&item: &u64| {
            thread::sleep(Duration::from_millis(20 - item));
            item * 2
        };
        let doubled: Vec<u64> = items.iter().map(|item| item * 2).collect();
        for jobs in [0, 1, 3, 100] {
            assert_eq!(map(&items, jobs, work, |_| {}), doubled);
        }
        assert!(map(&[], 4, work, |_| {}).is_empty());
    }

    #[test]
    fn what_takes_long_is_reported_once() {
        let mut reported = Vec::new();
        let work = |&millis: &u64| thread::sleep(Duration::from_millis(millis));
        map(&[0, 2300, 1], 3, work, |&item| reported.push(item));
        assert_eq!(reported, [2300]);
    }
}
