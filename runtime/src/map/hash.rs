//! Hash maps and tries.

use std::marker::PhantomData;

use super::entries::{Entries, iterable};
use super::handle::handle;
use super::scan::Scan;
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, from_bytes, slice_as_bytes, zeroed};
use crate::error::{Errno, Result};
use crate::uapi::{ElemFlags, MapType};

/// A hash map, with or without LRU eviction. It also is the handle of other maps with keys: devmap hashes, cgroup
/// storage, and stack traces whose value has a type in the source.
///
/// ```
/// use skelgen_runtime::map::HashMap;
///
/// fn lower(packets: &HashMap<u32, u64>) -> skelgen_runtime::Result<()> {
///     packets.insert_many(&[1, 2, 3], &[10, 20, 30])?;
///     if !packets.insert_new(&1, &0)? {
///         println!("removed the existing value {:?}", packets.take(&1)?);
///     }
///     for element in packets {
///         let (address, count) = element?;
///         if count < 15 {
///             packets.remove(&address)?;
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct HashMap<K, V> {
    handle: Untyped,
    element: PhantomData<fn() -> (K, V)>,
}

/// A longest prefix match trie. A key begins with the length of its prefix in bits, as a `u32`.
///
/// ```
/// use skelgen_runtime::map::LpmTrie;
///
/// /// The prefix length and the bytes of the address.
/// type Key = [u8; 8];
///
/// fn route(routes: &LpmTrie<Key, u32>) -> skelgen_runtime::Result<Option<u32>> {
///     routes.insert(&[8, 0, 0, 0, 10, 0, 0, 0], &1)?;
///     routes.insert(&[16, 0, 0, 0, 10, 1, 0, 0], &2)?;
///     // The longest match is 10.1.0.0/16, so the value is 2.
///     routes.get(&[32, 0, 0, 0, 10, 1, 2, 3])
/// }
/// ```
pub struct LpmTrie<K, V> {
    handle: Untyped,
    element: PhantomData<fn() -> (K, V)>,
}

handle!([K: Plain, V: Plain] HashMap<K, V>);
handle!([K: Plain, V: Plain] LpmTrie<K, V>);

macro_rules! keyed {
    ($name:ident, [$($map_type:ident),*]) => {
        impl<K: Plain, V: Plain> $name<K, V> {
            const SUPPORTS: Supports =
                Supports::new(&[$(MapType::$map_type),*], Some(size_of::<K>()), Some(size_of::<V>()));

            fn check(handle: Untyped) -> Result<Self> {
                Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, element: PhantomData })
            }

            /// Returns the value of `key`, or `None` if the map does not contain it.
            ///
            /// # Errors
            /// If the process has no permission to read the map.
            pub fn get(&self, key: &K) -> Result<Option<V>> {
                self.get_with(key, ElemFlags::ANY)
            }

            /// Returns the value of `key`, with flags: `LOCK` copies it while holding the value's spin lock.
            ///
            /// # Errors
            /// Those of [`Self::get`]. Also if the map does not support the flags.
            pub fn get_with(&self, key: &K, flags: ElemFlags) -> Result<Option<V>> {
                let mut value = zeroed();
                let found = self.handle.lookup(as_bytes(key), as_bytes_mut(&mut value), flags.bits())?;
                Ok(found.then_some(value))
            }

            /// Sets the value of `key`, and inserts the key if the map does not contain it.
            ///
            /// # Errors
            /// If the map is full or the process has no permission to write to it.
            pub fn insert(&self, key: &K, value: &V) -> Result<()> {
                self.insert_with(key, value, ElemFlags::ANY)
            }

            /// Sets the value of `key`, with flags of [`ElemFlags`].
            ///
            /// # Errors
            /// Those of [`Self::insert`]. Also if the condition of the flags does not hold.
            pub fn insert_with(&self, key: &K, value: &V, flags: ElemFlags) -> Result<()> {
                self.handle.update(as_bytes(key), as_bytes(value), flags.bits())
            }

            /// Inserts `key` and `value` unless the map contains `key`. Returns whether they were inserted.
            ///
            /// # Errors
            /// Those of [`Self::insert`].
            pub fn insert_new(&self, key: &K, value: &V) -> Result<bool> {
                match self.insert_with(key, value, ElemFlags::NOEXIST) {
                    Ok(()) => Ok(true),
                    Err(error) if error.errno() == Some(Errno::from_raw(libc::EEXIST)) => Ok(false),
                    Err(error) => Err(error),
                }
            }

            /// Sets the value of `key` if the map contains it. Returns whether the map contains `key`.
            ///
            /// # Errors
            /// If the process has no permission to write to the map.
            pub fn replace(&self, key: &K, value: &V) -> Result<bool> {
                match self.insert_with(key, value, ElemFlags::EXIST) {
                    Ok(()) => Ok(true),
                    Err(error) if error.errno() == Some(Errno::from_raw(libc::ENOENT)) => Ok(false),
                    Err(error) => Err(error),
                }
            }

            /// Sets the values of many keys, with as few system calls as the kernel supports.
            ///
            /// # Errors
            /// Those of [`Self::insert`]. Also if the numbers of keys and values differ. The elements before the failing one
            /// are set.
            pub fn insert_many(&self, keys: &[K], values: &[V]) -> Result<()> {
                self.insert_many_with(keys, values, ElemFlags::ANY)
            }

            /// Sets the values of many keys, with flags: `LOCK` writes each value while holding its spin lock. Kernels
            /// with batch operations reject other flags.
            ///
            /// # Errors
            /// Those of [`Self::insert_many`]. Also if the condition of the flags does not hold.
            pub fn insert_many_with(&self, keys: &[K], values: &[V], flags: ElemFlags) -> Result<()> {
                if keys.len() != values.len() {
                    return Err(self.handle.invalid(format_args!("{} keys but {} values", keys.len(), values.len())));
                }
                self.handle.update_many(slice_as_bytes(keys), slice_as_bytes(values), flags.bits())
            }

            /// Removes `key` and returns whether the map contained it.
            ///
            /// # Errors
            /// If the process has no permission to write to the map.
            pub fn remove(&self, key: &K) -> Result<bool> {
                self.handle.delete(as_bytes(key))
            }

            /// Removes many keys and returns how many the map contained.
            ///
            /// # Errors
            /// If the process has no permission to write to the map.
            pub fn remove_many(&self, keys: &[K]) -> Result<usize> {
                self.handle.delete_many(slice_as_bytes(keys))
            }

            /// Removes `key` and returns its value. If the kernel cannot do both at once (before 5.14, or for this map
            /// type), a value that is written between the two requests is lost.
            ///
            /// # Errors
            /// If the process has no permission to read and write the map.
            pub fn take(&self, key: &K) -> Result<Option<V>> {
                let mut value = zeroed();
                Ok(self.handle.take_keyed(as_bytes(key), as_bytes_mut(&mut value))?.then_some(value))
            }

            /// Removes all elements, with as few system calls as the kernel supports, passes each to `each`, and
            /// returns their number. Elements that are set during the call may be removed or stay.
            ///
            /// # Errors
            /// If the process has no permission to read and write the map. Elements that were removed before the error
            /// are passed to `each`.
            pub fn drain(&self, mut each: impl FnMut(K, V)) -> Result<usize> {
                let (mut scan, mut count) = (Scan::taking(&self.handle), 0);
                while let Some(element) = scan.next() {
                    let (key, value) = element?;
                    if let (Some(key), Some(value)) = (from_bytes(key), from_bytes(value)) {
                        each(key, value);
                        count += 1;
                    }
                }
                Ok(count)
            }

            /// Iterates over all elements, each once. Ends after the first error. An element may be missing only if it
            /// is set or removed during the iteration.
            pub fn iter(&self) -> Entries<'_, K, V> {
                Entries::plain(Scan::new(&self.handle))
            }

            /// Iterates over all elements, with flags: `LOCK` copies each value while holding its spin lock.
            pub fn iter_with(&self, flags: ElemFlags) -> Entries<'_, K, V> {
                Entries::plain(Scan::with_flags(&self.handle, flags.bits()))
            }

            /// Iterates over all keys, each once. Ends after the first error. A key that is set or removed during the
            /// iteration may be missing.
            pub fn keys(&self) -> impl Iterator<Item = Result<K>> + '_ {
                self.iter().map(|element| element.map(|(key, _)| key))
            }

            /// Removes all elements that the map contains at the time of the call, and returns their number.
            ///
            /// # Errors
            /// If the process has no permission to read and write the map.
            pub fn clear(&self) -> Result<usize> {
                let keys = self.keys().collect::<Result<Vec<_>>>()?;
                self.remove_many(&keys)
            }
        }

        iterable!([K: Plain, V: Plain] $name<K, V> => K, V);
    };
}

keyed!(HashMap, [HASH, LRU_HASH, RHASH, DEVMAP_HASH, STACK_TRACE, CGROUP_STORAGE]);
keyed!(LpmTrie, [LPM_TRIE]);
