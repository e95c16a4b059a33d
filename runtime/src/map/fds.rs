//! Maps whose values are kernel objects. A value is set by a file descriptor of the object, and read as the object's id
//! if the map type supports it.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::Record;
use super::create::{Template, not_inner};
use super::handle::handle;
use super::scan::{Keys, until_error};
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, from_bytes};
use crate::error::{Error, ErrorKind, Result, Step, Subject};
use crate::sys::elem::{EINVAL, ENOENT};
use crate::sys::ids;
use crate::uapi::{ElemFlags, MapType};

/// Kinds of kernel objects in maps.
pub mod kind {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    use crate::map::{Record, Untyped};
    use crate::uapi::MapType;

    /// A kind of kernel object that maps can contain.
    ///
    /// ```
    /// use skelgen_runtime::map::{FdArray, kind::Kind};
    ///
    /// fn filled<O: Kind>(array: &FdArray<O>) -> usize {
    ///     array.ids().filter(Result::is_ok).count()
    /// }
    /// ```
    pub trait Kind: sealed::Sealed + 'static {
        /// The map type of arrays of this kind of object.
        #[doc(hidden)]
        const ARRAYS: &'static [MapType];
    }

    /// A kind of kernel object that hash maps can contain too.
    ///
    /// ```
    /// use skelgen_runtime::map::{FdHash, kind::HashKind};
    ///
    /// fn size<O: HashKind>(hash: &FdHash<u32, O>) -> skelgen_runtime::Result<usize> {
    ///     Ok(hash.keys()?.len())
    /// }
    /// ```
    pub trait HashKind: Kind {
        /// The map type of hash maps of this kind of object.
        #[doc(hidden)]
        const HASHES: &'static [MapType];
    }

    mod sealed {
        #[doc(hidden)]
        pub trait Sealed {}
    }

    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident: $map_type:ident;)*) => {
            $(
                $(#[$doc])*
                #[derive(Clone, Copy, Debug)]
                pub enum $name {}
                impl sealed::Sealed for $name {}
                impl Kind for $name {
                    const ARRAYS: &'static [MapType] = &[MapType::$map_type];
                }
            )*
        };
    }

    /// Maps with handles of type `M`.
    ///
    /// ```
    /// use skelgen_runtime::map::{Array, FdArray, kind};
    ///
    /// fn inner(maps: &FdArray<kind::Map<Array<u64>>>) -> skelgen_runtime::Result<Option<Array<u64>>> {
    ///     maps.open_at(0)
    /// }
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub enum Map<M = Untyped> {
        /// This variant is never created; it names the type of the handles.
        #[doc(hidden)]
        Never(Infallible, PhantomData<fn() -> M>),
    }
    impl<M> sealed::Sealed for Map<M> {}
    impl<M: 'static> Kind for Map<M> {
        const ARRAYS: &'static [MapType] = &[MapType::ARRAY_OF_MAPS];
    }
    impl<M: 'static> HashKind for Map<M> {
        const HASHES: &'static [MapType] = &[MapType::HASH_OF_MAPS];
    }

    /// Perf events. `T` is the type of the records that programs output to them.
    ///
    /// ```
    /// use skelgen_runtime::map::{FdArray, PerfBuffer, kind};
    ///
    /// fn read(events: &FdArray<kind::PerfEvent<u64>>) -> skelgen_runtime::Result<PerfBuffer<u64>> {
    ///     PerfBuffer::open(events)
    /// }
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub enum PerfEvent<T: ?Sized = [u8]> {
        /// This variant is never created; it names the type of the records.
        #[doc(hidden)]
        Never(Infallible, PhantomData<fn(&T)>),
    }
    impl<T: ?Sized> sealed::Sealed for PerfEvent<T> {}
    impl<T: Record + ?Sized> Kind for PerfEvent<T> {
        const ARRAYS: &'static [MapType] = &[MapType::PERF_EVENT_ARRAY];
    }

    kinds! {
        /// Programs, for tail calls.
        ///
        /// ```
        /// use skelgen_runtime::{Program, map::{FdArray, kind}};
        ///
        /// fn chain(jumps: &FdArray<kind::Program>, next: &Program) -> skelgen_runtime::Result<()> {
        ///     jumps.set(0, next.fd()?)
        /// }
        /// ```
        Program: PROG_ARRAY;
        /// Cgroups.
        ///
        /// ```
        /// use std::fs::File;
        ///
        /// use skelgen_runtime::map::{FdArray, kind};
        ///
        /// fn watch(cgroups: &FdArray<kind::Cgroup>, directory: &File) -> skelgen_runtime::Result<()> {
        ///     cgroups.set(0, directory)
        /// }
        /// ```
        Cgroup: CGROUP_ARRAY;
        /// Sockets, to redirect to.
        ///
        /// ```
        /// use std::net::TcpStream;
        ///
        /// use skelgen_runtime::map::{FdHash, kind};
        ///
        /// fn redirect_to(peers: &FdHash<u32, kind::Socket>, stream: &TcpStream) -> skelgen_runtime::Result<()> {
        ///     peers.insert(&1, stream)
        /// }
        /// ```
        Socket: SOCKMAP;
        /// Bound sockets with `SO_REUSEPORT`, to select from.
        ///
        /// ```
        /// use std::net::UdpSocket;
        ///
        /// use skelgen_runtime::map::{FdArray, kind};
        ///
        /// fn serve(workers: &FdArray<kind::ReuseportSocket>, index: u32, socket: &UdpSocket) -> skelgen_runtime::Result<()> {
        ///     workers.set(index, socket)
        /// }
        /// ```
        ReuseportSocket: REUSEPORT_SOCKARRAY;
        /// AF_XDP sockets.
        ///
        /// ```
        /// use std::os::fd::BorrowedFd;
        ///
        /// use skelgen_runtime::map::{FdArray, kind};
        ///
        /// fn receive(queues: &FdArray<kind::Xsk>, queue: u32, socket: BorrowedFd<'_>) -> skelgen_runtime::Result<()> {
        ///     queues.set(queue, socket)
        /// }
        /// ```
        Xsk: XSKMAP;
    }

    impl HashKind for Socket {
        const HASHES: &'static [MapType] = &[MapType::SOCKHASH];
    }
}

use kind::{HashKind, Kind};

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
    handle: Untyped,
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
    handle: Untyped,
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
/// An array of perf events. To read the records that programs output to it, open a [`PerfBuffer`](super::PerfBuffer).
///
/// `T` is the record type. The object sets it with `__type(value, struct event)`, or the build with `Builder::record`;
/// otherwise it is `[u8]`.
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
pub type PerfEventArray<T = [u8]> = FdArray<kind::PerfEvent<T>>;
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
pub type ReuseportArray = FdArray<kind::ReuseportSocket>;
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
handle!([K: Plain, O: HashKind] FdHash<K, O>);

impl<O: Kind> FdArray<O> {
    const SUPPORTS: Supports = Supports::new(O::ARRAYS, Some(4), None);

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, object: PhantomData })
    }

    /// Sets the element at `index` to `object`.
    ///
    /// # Errors
    /// If `index` is out of bounds, the object is not of the map's kind, or the process has no permission to write to
    /// the map.
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

    /// Removes the object at `index` and returns whether the element had one.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to write to the map.
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

    /// Returns the id of the object at `index`, or `None` if the element is empty or `index` is out of bounds. The id
    /// of a socket is its cookie.
    ///
    /// # Errors
    /// If the kernel does not support lookups from user space for this map type, the values of a map of sockets do not have
    /// 8 bytes, or the process has no permission to read the map.
    pub fn id_at(&self, index: u32) -> Result<Option<u64>> {
        id_of(&self.handle, as_bytes(&index))
    }

    /// Iterates over the elements that are not empty, as pairs of the index and the object's id (see [`Self::id_at`]).
    /// Ends after the first error.
    pub fn ids(&self) -> impl Iterator<Item = Result<(u32, u64)>> + '_ {
        let id_at = |index| self.id_at(index).map(|id| id.map(|id| (index, id)));
        until_error((0..self.max_entries()).filter_map(move |index| id_at(index).transpose()))
    }
}

impl<T: Record + ?Sized> FdArray<kind::PerfEvent<T>> {
    /// Changes the type of the records, in this process only: to `[u8]` or to a plain type.
    ///
    /// ```
    /// use skelgen_runtime::{Result, map::{PerfBuffer, PerfEventArray}};
    ///
    /// /// Opens a perf buffer for records that are longer than the type that the object declares.
    /// fn open(events: PerfEventArray<u64>) -> Result<PerfBuffer<[u8; 24]>> {
    ///     PerfBuffer::open(&events.cast())
    /// }
    /// ```
    #[must_use]
    pub fn cast<U: Record + ?Sized>(self) -> PerfEventArray<U> {
        FdArray { handle: self.handle, object: PhantomData }
    }
}

impl<K: Plain, O: HashKind> FdHash<K, O> {
    const SUPPORTS: Supports = Supports::new(O::HASHES, Some(size_of::<K>()), None);

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, object: PhantomData })
    }

    /// Sets the element of `key` to `object`.
    ///
    /// # Errors
    /// If the map is full, the object is not of the map's kind, or the process has no permission to write to the map.
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

    /// Removes the object of `key` and returns whether the map had one.
    ///
    /// # Errors
    /// If the process has no permission to write to the map.
    pub fn remove(&self, key: &K) -> Result<bool> {
        self.handle.delete(as_bytes(key))
    }

    /// Returns the id of the object of `key`, as in [`FdArray::id_at`], or `None` if the map does not contain the key.
    ///
    /// # Errors
    /// Those of [`FdArray::id_at`].
    pub fn id_of(&self, key: &K) -> Result<Option<u64>> {
        id_of(&self.handle, as_bytes(key))
    }

    /// Returns all keys, each once. A key that is set or removed during the iteration may be missing.
    ///
    /// # Errors
    /// If the process has no permission to read the map.
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
    /// If the inner map does not match its handle, or the process has no permission to read this map or to open the inner
    /// map.
    pub fn open_at(&self, index: u32) -> Result<Option<M>> {
        self.open_at_as(index)
    }

    /// Opens the map at `index` as a handle of a different type, such as `Array<u64>` or [`Untyped`]. Returns `None` if
    /// the element is empty.
    ///
    /// # Errors
    /// Those of [`Self::open_at`].
    pub fn open_at_as<N: TryFrom<OwnedFd, Error = Error>>(&self, index: u32) -> Result<Option<N>> {
        open(&self.handle, self.id_at(index)?)
    }
}

impl<M: TryFrom<OwnedFd, Error = Error> + 'static> FdArray<kind::Map<M>> {
    /// Creates a map that can be an element: with the type, sizes and flags of the template of the inner maps. The new
    /// map is not inserted.
    ///
    /// The kernel does not report the template. The handle has the template if the load created the outer map, or if
    /// the handle was created by `create`. Otherwise the template is read from an element of the map, which requires
    /// `CAP_SYS_ADMIN`.
    ///
    /// ```
    /// use skelgen_runtime::map::{Array, ArrayOfMaps};
    ///
    /// fn renew(outer: &ArrayOfMaps<Array<u64>>, index: u32) -> skelgen_runtime::Result<Array<u64>> {
    ///     let inner = outer.create_inner("inner")?;
    ///     outer.set(index, &inner)?;
    ///     Ok(inner)
    /// }
    /// ```
    ///
    /// # Errors
    /// If the template is not known and cannot be read from an element, the new map does not match the handle `M`, or
    /// the kernel rejects the new map.
    pub fn create_inner(&self, name: &str) -> Result<M> {
        let ids = self.ids().map(|element| element.map(|(_, id)| id));
        create_inner(&self.handle, name, ids)
    }
}

impl<K: Plain, M: TryFrom<OwnedFd, Error = Error> + 'static> FdHash<K, kind::Map<M>> {
    /// Creates a map that can be an element, as [`ArrayOfMaps::create_inner`] does.
    ///
    /// # Errors
    /// Those of [`ArrayOfMaps::create_inner`].
    pub fn create_inner(&self, name: &str) -> Result<M> {
        let (mut iteration, mut key) = (Keys::new(&self.handle)?, Vec::new());
        let ids = std::iter::from_fn(|| {
            loop {
                match iteration.next(&mut key).and_then(|more| more.then(|| id_of(&self.handle, &key)).transpose()) {
                    // The element was removed meanwhile.
                    Ok(Some(None)) => {}
                    result => return result.map(Option::flatten).transpose(),
                }
            }
        });
        create_inner(&self.handle, name, ids)
    }

    /// Opens the map of `key`, as [`ArrayOfMaps::open_at`] does. Returns `None` if the map does not contain the key.
    ///
    /// # Errors
    /// If the inner map does not match its handle, or the process has no permission to read this map or to open the inner
    /// map.
    pub fn open(&self, key: &K) -> Result<Option<M>> {
        self.open_as(key)
    }

    /// Opens the map of `key` as a handle of a different type. Returns `None` if the map does not contain the key.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_as<N: TryFrom<OwnedFd, Error = Error>>(&self, key: &K) -> Result<Option<N>> {
        open(&self.handle, self.id_of(key)?)
    }
}

fn open<M: TryFrom<OwnedFd, Error = Error>>(handle: &Untyped, id: Option<u64>) -> Result<Option<M>> {
    let Some(id) = id else { return Ok(None) };
    match ids::Kind::Map.open(u32::try_from(id).unwrap_or(u32::MAX)) {
        Ok(fd) => M::try_from(fd).map(Some),
        // The inner map was replaced or removed meanwhile, and the element was its last reference.
        Err(ENOENT) => Ok(None),
        Err(errno) => Err(handle.refused(Step::ReadMap, "cannot open the inner map", errno)),
    }
}

/// Creates an inner map from the template of `outer`. If the template is unknown, copies the definition of the first
/// map in `ids` that can be opened.
fn create_inner<M: TryFrom<OwnedFd, Error = Error>>(
    outer: &Untyped,
    name: &str,
    ids: impl Iterator<Item = Result<u64>>,
) -> Result<M> {
    let template = match outer.inner() {
        Some(template) => *template,
        None => template_by_elements(outer, ids)?,
    };
    let created = template.create(name).and_then(M::try_from);
    created.map_err(|error| error.during(Step::CreateMap).about(Subject::Map(name)).about(Subject::Map(outer.name())))
}

/// Returns the definition of the first element that can be opened.
fn template_by_elements(outer: &Untyped, ids: impl Iterator<Item = Result<u64>>) -> Result<Template> {
    for id in ids {
        let found = ids::Kind::Map.open(u32::try_from(id?).unwrap_or(u32::MAX)).and_then(|fd| Template::of(fd.as_fd()));
        match found {
            Ok(template) => return Ok(template),
            // The map was replaced or removed meanwhile, and the element was its last reference.
            Err(ENOENT) => {}
            Err(errno) => {
                let error = outer.refused(
                    Step::CreateMap,
                    "cannot open an inner map, whose definition the new map copies",
                    errno,
                );
                return Err(match errno.raw() {
                    libc::EPERM => {
                        error.with_help("run with CAP_SYS_ADMIN, which opening a map by id requires, or create the inner map with `NewMap`")
                    }
                    _ => error,
                });
            }
        }
    }
    Err(outer
        .error(ErrorKind::NotFound, "cannot create an inner map: the template of its inner maps is not known")
        .during(Step::CreateMap)
        .note(
            "the kernel does not report the template of a map that was created elsewhere, and the map has no elements",
        )
        .with_help("create the inner map with `NewMap`, or insert an inner map first"))
}

fn set(handle: &Untyped, key: &[u8], object: impl AsFd, flags: ElemFlags) -> Result<()> {
    // Values have 4 bytes. In some maps of sockets they have 8 bytes, of which the upper 4 must be zero.
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

fn id_of(handle: &Untyped, key: &[u8]) -> Result<Option<u64>> {
    if handle.map().value_len() == 8 {
        let mut id = 0u64;
        return Ok(handle.lookup(key, as_bytes_mut(&mut id), 0)?.then_some(id));
    }
    let mut id = 0u32;
    Ok(handle.lookup(key, as_bytes_mut(&mut id), 0)?.then_some(u64::from(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handle_is_for_one_type() {
        let array = |supports: Supports, is_for: MapType| {
            assert_eq!(supports.default_type(), Some(is_for));
            let types = [
                MapType::ARRAY_OF_MAPS,
                MapType::HASH_OF_MAPS,
                MapType::SOCKMAP,
                MapType::SOCKHASH,
                MapType::REUSEPORT_SOCKARRAY,
            ];
            for map_type in types {
                assert_eq!(supports.mismatch(map_type, 4, 4).is_none(), map_type == is_for, "{is_for} {map_type}");
            }
        };
        array(ArrayOfMaps::<Untyped>::SUPPORTS, MapType::ARRAY_OF_MAPS);
        array(HashOfMaps::<u32>::SUPPORTS, MapType::HASH_OF_MAPS);
        array(SockMap::SUPPORTS, MapType::SOCKMAP);
        array(SockHash::<u32>::SUPPORTS, MapType::SOCKHASH);
        array(ReuseportArray::SUPPORTS, MapType::REUSEPORT_SOCKARRAY);
    }
}
