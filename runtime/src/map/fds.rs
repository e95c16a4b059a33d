//! Maps whose values are kernel objects. They are set by file descriptor, and read as ids if the map type supports it.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::bytes::Untyped;
use super::handle::{Handle, handle, other_than_map};
use super::scan::Keys;
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, from_bytes};
use crate::error::{Errno, Error, Result, Step};
use crate::sys;
use crate::sys::elem::{EINVAL, ENOENT, open_by_id};
use crate::uapi::{ElemFlags, MapType};
use skelgen_abi::map_types::Definition;

/// Kinds of kernel objects in maps.
pub mod kind {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    use crate::map::Untyped;
    use crate::uapi::MapType;

    /// A kind of kernel object that maps can contain.
    pub trait Kind: sealed::Sealed + 'static {
        /// The map types that contain it, for arrays and for hash maps.
        #[doc(hidden)]
        const TYPES: &'static [MapType];
    }

    mod sealed {
        #[doc(hidden)]
        pub trait Sealed {}
    }

    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident: $($map_type:ident),*;)*) => {
            $(
                $(#[$doc])*
                #[derive(Clone, Copy, Debug)]
                pub enum $name {}
                impl sealed::Sealed for $name {}
                impl Kind for $name {
                    const TYPES: &'static [MapType] = &[$(MapType::$map_type),*];
                }
            )*
        };
    }

    /// Maps with handles of type `M`.
    #[derive(Clone, Copy, Debug)]
    pub enum Map<M = Untyped> {
        /// This variant is never created; it names the type of the handles.
        #[doc(hidden)]
        Never(Infallible, PhantomData<fn() -> M>),
    }
    impl<M> sealed::Sealed for Map<M> {}
    impl<M: 'static> Kind for Map<M> {
        const TYPES: &'static [MapType] = &[MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS];
    }

    kinds! {
        /// Programs, for tail calls.
        Program: PROG_ARRAY;
        /// Perf events.
        PerfEvent: PERF_EVENT_ARRAY;
        /// Cgroups.
        Cgroup: CGROUP_ARRAY;
        /// Sockets.
        Socket: SOCKMAP, SOCKHASH, REUSEPORT_SOCKARRAY;
        /// AF_XDP sockets.
        Xsk: XSKMAP;
    }
}

use kind::Kind;

/// An array of kernel objects.
///
/// ```
/// use skelgen_runtime::map::{Array, ArrayOfMaps};
///
/// fn exchange(outer: &ArrayOfMaps<Array<u64>>, new: &Array<u64>) -> skelgen_runtime::Result<Option<Array<u64>>> {
///     let before = outer.open_at(0)?;
///     outer.set(0, new)?;
///     Ok(before)
/// }
/// ```
pub struct FdArray<O> {
    handle: Handle,
    object: PhantomData<fn() -> O>,
}

/// A hash map of kernel objects.
///
/// ```
/// use skelgen_runtime::map::SockHash;
///
/// fn add(sockets: &SockHash<u32>, socket: &std::net::TcpStream) -> skelgen_runtime::Result<()> {
///     sockets.insert(&7, socket)?;
///     println!("{:?} has cookie {:?}", sockets.keys()?, sockets.id_of(&7)?);
///     Ok(())
/// }
/// ```
pub struct FdHash<K, O> {
    handle: Handle,
    object: PhantomData<fn() -> (K, O)>,
}

/// An array of programs for tail calls.
///
/// ```
/// use skelgen_runtime::{Program, map::ProgArray};
///
/// fn chain(tails: &ProgArray, next: &Program) -> skelgen_runtime::Result<()> {
///     tails.set(0, next.fd()?)
/// }
/// ```
pub type ProgArray = FdArray<kind::Program>;
/// An array of maps with handles of type `M`.
///
/// ```
/// use skelgen_runtime::map::{Array, ArrayOfMaps};
///
/// fn swap(outer: &ArrayOfMaps<Array<u64>>, new: &Array<u64>) -> skelgen_runtime::Result<()> {
///     outer.set(0, new)
/// }
/// ```
pub type ArrayOfMaps<M = Untyped> = FdArray<kind::Map<M>>;
/// An array of perf events. To read what programs output to it, open a [`PerfBuffer`](super::PerfBuffer).
///
/// ```
/// use std::os::fd::OwnedFd;
/// use skelgen_runtime::map::PerfEventArray;
///
/// /// Sets the event of each CPU, which the caller has opened.
/// fn fill(events: &PerfEventArray, opened: &[OwnedFd]) -> skelgen_runtime::Result<()> {
///     (0..).zip(opened).try_for_each(|(cpu, event)| events.set(cpu, event))
/// }
/// ```
pub type PerfEventArray = FdArray<kind::PerfEvent>;
/// An array of cgroups.
///
/// ```no_run
/// use skelgen_runtime::map::CgroupArray;
///
/// fn watch(cgroups: &CgroupArray) -> Result<(), Box<dyn std::error::Error>> {
///     Ok(cgroups.set(0, std::fs::File::open("/sys/fs/cgroup/user.slice")?)?)
/// }
/// ```
pub type CgroupArray = FdArray<kind::Cgroup>;
/// An array of sockets to redirect to.
///
/// ```
/// use std::net::TcpStream;
/// use skelgen_runtime::map::SockMap;
///
/// fn pair(sockets: &SockMap, one: &TcpStream, other: &TcpStream) -> skelgen_runtime::Result<()> {
///     sockets.set(0, one)?;
///     sockets.set(1, other)
/// }
/// ```
pub type SockMap = FdArray<kind::Socket>;
/// An array of listening sockets that programs select from.
///
/// ```
/// use std::net::UdpSocket;
/// use skelgen_runtime::map::ReuseportArray;
///
/// /// Adds a bound socket with `SO_REUSEPORT`.
/// fn serve(listeners: &ReuseportArray, worker: u32, socket: &UdpSocket) -> skelgen_runtime::Result<()> {
///     listeners.set(worker, socket)
/// }
/// ```
pub type ReuseportArray = FdArray<kind::Socket>;
/// An array of AF_XDP sockets.
///
/// ```
/// use std::os::fd::OwnedFd;
/// use skelgen_runtime::map::XskMap;
///
/// /// Adds a socket that is bound to this queue of a device.
/// fn receive(sockets: &XskMap, queue: u32, socket: &OwnedFd) -> skelgen_runtime::Result<()> {
///     sockets.set(queue, socket)
/// }
/// ```
pub type XskMap = FdArray<kind::Xsk>;
/// A hash map of maps with handles of type `M`.
///
/// ```
/// use skelgen_runtime::map::{HashMap, HashOfMaps};
///
/// /// Opens the map of one network namespace.
/// fn flows(of: &HashOfMaps<u32, HashMap<u64, u64>>, netns: u32) -> skelgen_runtime::Result<Option<HashMap<u64, u64>>> {
///     of.open(&netns)
/// }
/// ```
pub type HashOfMaps<K, M = Untyped> = FdHash<K, kind::Map<M>>;
/// A hash map of sockets to redirect to.
///
/// ```
/// use skelgen_runtime::map::SockHash;
///
/// fn forget(sockets: &SockHash<u64>, cookie: u64) -> skelgen_runtime::Result<bool> {
///     sockets.remove(&cookie)
/// }
/// ```
pub type SockHash<K> = FdHash<K, kind::Socket>;

handle!([O: Kind] FdArray<O>);
handle!([K: Plain, O: Kind] FdHash<K, O>);

impl<O: Kind> FdArray<O> {
    fn check(handle: Handle) -> Result<Self> {
        Ok(Self { handle: handle.expect(O::TYPES, Some(4), None)?, object: PhantomData })
    }

    /// Sets the element at `index` to `object`.
    ///
    /// # Errors
    /// If `index` is out of bounds, the object is not of the map's kind, or the process may not write the map.
    pub fn set(&self, index: u32, object: impl AsFd) -> Result<()> {
        self.set_with(index, object, ElemFlags::ANY)
    }

    /// Sets the element at `index` to `object`, with flags. Maps of sockets accept `NOEXIST`, which only fills an empty
    /// element, and `EXIST`, which only replaces an object.
    ///
    /// # Errors
    /// Those of [`Self::set`]. Also if the condition of the flags does not hold.
    pub fn set_with(&self, index: u32, object: impl AsFd, flags: ElemFlags) -> Result<()> {
        set(&self.handle, as_bytes(&index), object, flags)
    }

    /// Removes the object at `index` and returns whether there was one.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process may not write the map.
    pub fn remove(&self, index: u32) -> Result<bool> {
        match self.handle.delete(as_bytes(&index)) {
            // For an empty element, maps of sockets return the error that other maps return for an index out of bounds.
            Err(error)
                if error.errno() == Some(EINVAL)
                    && self.map_type() == MapType::SOCKMAP
                    && index < self.max_entries() =>
            {
                Ok(false)
            }
            result => result,
        }
    }

    /// Returns the id of the object at `index`, or `None` if the element is empty. Of programs and maps it is their id;
    /// of sockets it is their cookie, for which the map's values must have 8 bytes.
    ///
    /// # Errors
    /// If the kernel does not support lookups from user space for this map type.
    pub fn id_at(&self, index: u32) -> Result<Option<u64>> {
        id_of(&self.handle, as_bytes(&index))
    }

    /// Iterates over the indices that are not empty, with the ids of their objects as in [`Self::id_at`]. Ends at the
    /// first error.
    pub fn ids(&self) -> impl Iterator<Item = Result<(u32, u64)>> + '_ {
        let mut indices = 0..self.max_entries();
        let mut ids = std::iter::from_fn(move || {
            indices.find_map(|index| self.id_at(index).map(|id| id.map(|id| (index, id))).transpose())
        });
        let mut failed = false;
        std::iter::from_fn(move || {
            let next = if failed { None } else { ids.next() };
            failed = matches!(next, Some(Err(_)));
            next
        })
    }
}

impl FdArray<kind::PerfEvent> {
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<K: Plain, O: Kind> FdHash<K, O> {
    fn check(handle: Handle) -> Result<Self> {
        Ok(Self { handle: handle.expect(O::TYPES, Some(size_of::<K>()), None)?, object: PhantomData })
    }

    /// Sets the element of `key` to `object`.
    ///
    /// # Errors
    /// If the map is full, the object is not of the map's kind, or the process may not write the map.
    pub fn insert(&self, key: &K, object: impl AsFd) -> Result<()> {
        self.insert_with(key, object, ElemFlags::ANY)
    }

    /// Sets the element of `key` to `object`, with flags: `NOEXIST` only creates an element, `EXIST` only replaces an
    /// object.
    ///
    /// # Errors
    /// Those of [`Self::insert`]. Also if the condition of the flags does not hold.
    pub fn insert_with(&self, key: &K, object: impl AsFd, flags: ElemFlags) -> Result<()> {
        set(&self.handle, as_bytes(key), object, flags)
    }

    /// Removes the object of `key` and returns whether there was one.
    ///
    /// # Errors
    /// If the process may not write the map.
    pub fn remove(&self, key: &K) -> Result<bool> {
        self.handle.delete(as_bytes(key))
    }

    /// Returns the id of the object of `key`, as in [`FdArray::id_at`], or `None` if the map does not contain the key.
    ///
    /// # Errors
    /// If the kernel does not support lookups from user space for this map type.
    pub fn id_of(&self, key: &K) -> Result<Option<u64>> {
        id_of(&self.handle, as_bytes(key))
    }

    /// Returns all keys, each once. A key that is set or removed during the iteration may be missing.
    ///
    /// # Errors
    /// If the process may not read the map.
    pub fn keys(&self) -> Result<Vec<K>> {
        let (mut iteration, mut key, mut keys) = (Keys::new(&self.handle)?, Vec::new(), Vec::new());
        while iteration.next(&mut key)? {
            keys.extend(from_bytes::<K>(&key));
        }
        Ok(keys)
    }
}

impl<M: TryFrom<OwnedFd, Error = Error> + 'static> FdArray<kind::Map<M>> {
    /// Opens the map at `index` by its id, which requires `CAP_SYS_ADMIN`. Returns `None` if the element is empty.
    ///
    /// # Errors
    /// If the map does not match the handle, or the process may not open it.
    pub fn open_at(&self, index: u32) -> Result<Option<M>> {
        self.open_at_as(index)
    }

    /// Opens the map at `index` as a handle of another type, such as `Array<u64>` or [`Untyped`]. Returns `None` if the
    /// element is empty.
    ///
    /// # Errors
    /// Those of [`Self::open_at`].
    pub fn open_at_as<N: TryFrom<OwnedFd, Error = Error>>(&self, index: u32) -> Result<Option<N>> {
        open(&self.handle, self.id_at(index)?)
    }
}

impl<K: Plain, M: TryFrom<OwnedFd, Error = Error> + 'static> FdHash<K, kind::Map<M>> {
    /// Opens the map of `key`, as [`ArrayOfMaps::open_at`] does. Returns `None` if the map does not contain the key.
    ///
    /// # Errors
    /// If the map does not match the handle, or the process may not open it.
    pub fn open(&self, key: &K) -> Result<Option<M>> {
        self.open_as(key)
    }

    /// Opens the map of `key` as a handle of another type. Returns `None` if the map does not contain the key.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_as<N: TryFrom<OwnedFd, Error = Error>>(&self, key: &K) -> Result<Option<N>> {
        open(&self.handle, self.id_of(key)?)
    }
}

fn open<M: TryFrom<OwnedFd, Error = Error>>(handle: &Handle, id: Option<u64>) -> Result<Option<M>> {
    let Some(id) = id else { return Ok(None) };
    match open_by_id(u32::try_from(id).unwrap_or(u32::MAX)) {
        Ok(fd) => M::try_from(fd).map(Some),
        // The map was replaced or removed meanwhile, and that was its last reference.
        Err(ENOENT) => Ok(None),
        Err(errno) => Err(handle.refused(Step::ReadMap, "cannot open the inner map", errno)),
    }
}

fn set(handle: &Handle, key: &[u8], object: impl AsFd, flags: ElemFlags) -> Result<()> {
    // Values have 4 bytes, or 8 in some maps of sockets, whose upper half is zero here.
    let fd = u64::from(object.as_fd().as_raw_fd().unsigned_abs());
    let (narrow, wide) = (u32::try_from(fd).unwrap_or(u32::MAX), fd);
    let value: &[u8] = if handle.map().value_len() == 8 { as_bytes(&wide) } else { as_bytes(&narrow) };
    handle.update(key, value, flags.bits()).map_err(|error| {
        let outer = [MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS].contains(&handle.map().map_type());
        let note = error.errno().filter(|_| outer).and_then(|errno| not_inner(object.as_fd(), handle.inner(), errno));
        match note {
            Some(note) => error.note(note),
            None => error,
        }
    })
}

/// Returns the definition of an open map, as the kernel reports it.
pub(crate) fn definition_of(map: BorrowedFd<'_>) -> Result<Definition, Errno> {
    sys::map::info(map).map(|found| Definition {
        flags: found.map_flags,
        ..Definition::new(MapType(found.map_type), found.key_size, found.value_size, found.max_entries)
    })
}

/// Explains why a map of maps with this template, if it is known, rejects an object.
pub(crate) fn not_inner(object: BorrowedFd<'_>, template: Option<&Definition>, errno: Errno) -> Option<String> {
    if errno != EINVAL {
        return None;
    }
    if let Some(other) = other_than_map(object) {
        return Some(format!("only maps can be inserted, and this is {other}"));
    }
    let found = definition_of(object).ok()?;
    Some(match template {
        Some(template) if found.is_compatible_with(template) => format!(
            "the inserted map is ({found}) like the template of the inner maps; special fields of their values, such as spin locks \
             and timers, may differ"
        ),
        Some(template) => format!("the inserted map is ({found}), the template of the inner maps is ({template})"),
        None => format!(
            "the inserted map is ({found}); the template of the inner maps, which the kernel does not report, has another type, other sizes \
             or other flags"
        ),
    })
}

fn id_of(handle: &Handle, key: &[u8]) -> Result<Option<u64>> {
    if handle.map().value_len() == 8 {
        let mut id = 0u64;
        return Ok(handle.lookup(key, as_bytes_mut(&mut id), 0)?.then_some(id));
    }
    let mut id = 0u32;
    Ok(handle.lookup(key, as_bytes_mut(&mut id), 0)?.then_some(u64::from(id)))
}
