//! What the running kernel is: its BTF, its CPUs, its features.

pub(crate) mod btf;
pub mod cpus;

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// How many CPUs the kernel allows for, online or not. Read once.
pub(crate) fn possible_cpus() -> Result<usize> {
    const PATH: &str = "/sys/devices/system/cpu/possible";
    static COUNT: OnceLock<usize> = OnceLock::new();
    if let Some(&count) = COUNT.get() {
        return Ok(count);
    }
    let list = std::fs::read_to_string(PATH).map_err(|error| Error::io(format_args!("reading {PATH}"), &error))?;
    let count = count_list(&list).ok_or_else(|| Error::invalid(format_args!("{PATH} is no list of CPUs: {list:?}")))?;
    Ok(*COUNT.get_or_init(|| count))
}

/// Counts the numbers of a list such as `0-3,5`.
fn count_list(list: &str) -> Option<usize> {
    list.trim().split(',').try_fold(0_usize, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}
