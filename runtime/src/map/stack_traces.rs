//! Maps of stack traces.

use super::entries::{Entries, exactly, iterable};
use super::handle::handle;
use super::scan::Scan;
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::as_bytes;
use crate::error::Result;
use crate::uapi::{MapFlags, MapType};

/// A map of stack traces (`BPF_MAP_TYPE_STACK_TRACE`), which programs fill by `bpf_get_stackid`.
///
/// A trace consists of instruction addresses, from the innermost function to the outermost.
/// [`kernel::Symbols`](crate::kernel::Symbols) resolves the addresses of kernel stacks; its documentation has an
/// example that prints a trace. The addresses of user stacks (`BPF_F_USER_STACK`) are addresses in the process. To read
/// a map that stores build ids and file offsets instead ([`MapFlags::STACK_BUILD_ID`]), use a
/// [`HashMap`](super::HashMap).
///
/// ```
/// use skelgen_runtime::map::StackTraces;
///
/// /// Returns the number of traces in the map whose innermost address is `address`.
/// fn count(stacks: &StackTraces, address: u64) -> skelgen_runtime::Result<usize> {
///     let mut count = 0;
///     for trace in stacks {
///         let (_id, addresses) = trace?;
///         count += usize::from(addresses.first() == Some(&address));
///     }
///     Ok(count)
/// }
/// ```
///
/// ```
/// # fn f(stacks: &skelgen_runtime::map::StackTraces) -> skelgen_runtime::Result<()> {
/// println!("up to {} frames; {} stacks removed", stacks.depth(), stacks.clear()?);
/// # Ok(())
/// # }
/// ```
pub struct StackTraces {
    handle: Untyped,
}

handle!([] StackTraces);
iterable!([] StackTraces => u32, Vec<u64>);

impl StackTraces {
    const SUPPORTS: Supports = Supports::new(&[MapType::STACK_TRACE], Some(4), None);

    fn check(handle: Untyped) -> Result<Self> {
        let handle = handle.expect(&Self::SUPPORTS)?;
        if handle.flags().contains(MapFlags::STACK_BUILD_ID) {
            return Err(handle.mismatch("the map stores build ids, but the handle is for addresses"));
        }
        Ok(Self { handle })
    }

    /// Returns the maximum number of addresses in a trace. Longer stacks lose their outermost functions.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.handle.value_len() / size_of::<u64>()
    }

    /// Returns the addresses of a trace, or `None` if the map has no trace with this id.
    ///
    /// The id is the return value of `bpf_get_stackid` in the program. Negative numbers are error numbers, not ids.
    ///
    /// # Errors
    /// If the process has no permission to read the map.
    pub fn get(&self, id: u32) -> Result<Option<Vec<u64>>> {
        let mut value = vec![0; self.handle.value_len()];
        Ok(self.handle.lookup(as_bytes(&id), &mut value, 0)?.then(|| addresses(&value)))
    }

    /// Removes a trace and returns whether the map had a trace with this id. The kernel can reuse the id for another
    /// trace.
    ///
    /// # Errors
    /// If the process has no permission to write to the map.
    pub fn remove(&self, id: u32) -> Result<bool> {
        match self.handle.delete(as_bytes(&id)) {
            // An id beyond the map's capacity, which no trace has.
            Err(error) if error.errno().is_some_and(|errno| errno.raw() == libc::E2BIG) => Ok(false),
            result => result,
        }
    }

    /// Iterates over all traces: their ids and addresses. Ends after the first error. A trace that is recorded or
    /// removed during the iteration may be missing.
    pub fn iter(&self) -> Entries<'_, u32, Vec<u64>> {
        Entries::new(Scan::new(&self.handle), |id, value| Ok((exactly(id)?, addresses(value))))
    }

    /// Removes all traces and returns their number.
    ///
    /// # Errors
    /// If the process has no permission to read and write the map.
    pub fn clear(&self) -> Result<usize> {
        let ids = self.iter().map(|trace| trace.map(|(id, _)| id)).collect::<Result<Vec<_>>>()?;
        ids.into_iter().try_fold(0, |count, id| Ok(count + usize::from(self.remove(id)?)))
    }
}

/// Returns the addresses in a value. The kernel fills the bytes after them with zeros.
fn addresses(value: &[u8]) -> Vec<u64> {
    let words = value.chunks_exact(size_of::<u64>()).filter_map(|word| word.first_chunk());
    words.map(|&word| u64::from_ne_bytes(word)).take_while(|&address| address != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_follow_the_addresses() {
        let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        assert_eq!(addresses(&bytes(&[3, 5, 0, 0])), [3, 5]);
        assert_eq!(addresses(&bytes(&[3, 5])), [3, 5]);
        assert!(addresses(&[]).is_empty() && addresses(&[0; 8]).is_empty());
    }
}
