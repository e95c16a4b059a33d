//! Maps that are created at run time, for handles of any type.
//!
//! A [`NewMap`] is the definition of a map. The function `create` of each handle type adds the attributes that the
//! handle's types determine, and sends the request. `request` contains the code that the load of an object uses too.
//! This module does not depend on objects; of handles, it uses only their `Supports`. To add an attribute of maps, add
//! a field and a setter here, and the field to [`sys::map::Request`] if a map's row in the plan does not have it.

mod request;
mod template;
mod types;

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::supports::Supports;
use super::untyped::Untyped;
use crate::abi;
use crate::error::{Error, Result, Step, Subject};
use crate::kernel::token::{self, Delegable};
use crate::sys;
use crate::sys::map::Request;
use crate::uapi::{MapFlags, MapType};
use skelgen_abi::map_types::{Fault, MapFacts};

pub(crate) use request::{max_entries, rejected, send};
pub(crate) use template::{Template, check_template, not_inner};

/// The definition of a map to create at run time.
///
/// Every handle type has a function `create`. A handle with Rust types for its elements determines the sizes of keys
/// and values and has a default map type; [`map_type`](Self::map_type) chooses a different one that the handle
/// supports. For an [`Untyped`] handle, set the map type and the sizes yourself; a size can be omitted if the map type
/// allows only one, such as the key size 0 of a queue. Flags that a map type requires, such as `BPF_F_NO_PREALLOC` for
/// tries and local storage, are always set.
///
/// A map exists as long as a handle, a pin or a program refers to it. To give it to a program, pass it to
/// [`OpenMap::reuse_fd`](crate::OpenMap::reuse_fd) before the load, or insert it into a map of maps.
///
/// ```no_run
/// use skelgen_runtime::map::{Array, ArrayOfMaps, HashMap, NewMap, Untyped};
/// use skelgen_runtime::uapi::{MapFlags, MapType};
///
/// fn create() -> skelgen_runtime::Result<()> {
///     let flows = HashMap::<u32, u64>::create(NewMap::new("flows", 1024))?;
///     let recent = NewMap::new("recent", 1024).map_type(MapType::LRU_HASH).flags(MapFlags::NO_COMMON_LRU);
///     let recent = HashMap::<u32, u64>::create(recent)?;
///
///     let any = NewMap::new("any", 16).map_type(MapType::QUEUE).value_size(12);
///     let any = Untyped::create(any)?;
///
///     let template = Array::<u64>::create(NewMap::new("template", 64))?;
///     let outer = ArrayOfMaps::<Array<u64>>::create(NewMap::new("outer", 8).inner_map(&template))?;
///     Ok(())
/// }
/// ```
///
/// ```
/// use skelgen_runtime::map::NewMap;
/// use skelgen_runtime::uapi::MapType;
///
/// let bloom = NewMap::new("seen", 1000).map_type(MapType::BLOOM_FILTER).value_size(4).extra(3).numa_node(0);
/// assert_eq!((bloom.get_name(), bloom.get_map_type()), ("seen", Some(MapType::BLOOM_FILTER)));
/// assert_eq!((bloom.get_key_size(), bloom.get_value_size()), (None, Some(4)));
/// println!("{:?}", bloom.get_flags());
/// ```
#[derive(Clone, Debug)]
#[must_use = "a definition does nothing until it is passed to `create`"]
pub struct NewMap<'a> {
    name: Cow<'static, str>,
    map_type: Option<MapType>,
    key_size: Option<u32>,
    value_size: Option<u32>,
    max_entries: u32,
    flags: MapFlags,
    numa_node: Option<u32>,
    extra: u64,
    types: Option<Types<'a>>,
    inner: Option<Inner<'a>>,
    token: Option<BorrowedFd<'a>>,
    ifindex: u32,
    exclusive: Option<[u8; 32]>,
}

/// The BTF types of keys and values.
#[derive(Clone, Copy, Debug)]
struct Types<'a> {
    /// The BTF object that contains the types; `None` for the BTF of the object being loaded.
    btf: Option<BorrowedFd<'a>>,
    key: u32,
    value: u32,
}

/// The template of the inner maps.
#[derive(Clone, Debug)]
enum Inner<'a> {
    Map(BorrowedFd<'a>),
    Definition(Box<NewMap<'a>>),
}

impl<'a> NewMap<'a> {
    /// Creates the definition of a map with this name, for at most `max_entries` elements.
    ///
    /// The kernel stores the first 15 bytes of the name, with `_` for each character that it does not allow. Before
    /// Linux 4.15 it stores no name. `max_entries` is 0 for local storage, and for an array of perf events with an
    /// element for each CPU. For ring buffers it is the size in bytes, which is rounded up to a power of two of whole
    /// pages.
    pub fn new(name: impl Into<Cow<'static, str>>, max_entries: u32) -> Self {
        Self {
            name: name.into(),
            map_type: None,
            key_size: None,
            value_size: None,
            max_entries,
            flags: MapFlags::empty(),
            numa_node: None,
            extra: 0,
            types: None,
            inner: None,
            token: None,
            ifindex: 0,
            exclusive: None,
        }
    }

    /// Sets the map type. The default is that of the handle's type, if it has one.
    pub fn map_type(self, map_type: MapType) -> Self {
        Self { map_type: Some(map_type), ..self }
    }

    /// Sets the size of a key in bytes, for handles without a Rust type for keys.
    pub fn key_size(self, bytes: u32) -> Self {
        Self { key_size: Some(bytes), ..self }
    }

    /// Sets the size of a value in bytes, for handles without a Rust type for values. For percpu maps, this is the size
    /// of one CPU's value.
    pub fn value_size(self, bytes: u32) -> Self {
        Self { value_size: Some(bytes), ..self }
    }

    /// Sets the maximum number of elements, as in [`new`](Self::new).
    pub fn max_entries(self, count: u32) -> Self {
        Self { max_entries: count, ..self }
    }

    /// Sets the flags, in addition to those that the map type requires; none by default.
    pub fn flags(self, flags: MapFlags) -> Self {
        Self { flags, ..self }
    }

    /// Sets the NUMA node of the map's memory (Linux 4.14); by default the kernel chooses it.
    pub fn numa_node(self, node: u32) -> Self {
        Self { numa_node: Some(node), ..self }
    }

    /// Sets the extra value of the map type (`map_extra`, Linux 5.16), such as the number of hash functions of a Bloom
    /// filter; 0 by default.
    pub fn extra(self, extra: u64) -> Self {
        Self { extra, ..self }
    }

    /// Sets the types of keys and values, as ids of this BTF (Linux 4.18). Values with spin locks, timers and other
    /// special fields require types, and tools use them to print elements. Some map types accept no types.
    ///
    /// By default a map has no types. Local storage requires types: by default, the key is an `int` and the value an
    /// array of bytes.
    ///
    /// ```
    /// use std::os::fd::OwnedFd;
    /// use skelgen_runtime::map::{HashMap, NewMap};
    ///
    /// /// Creates a map with the types 1 and 5 of BTF that the caller has loaded.
    /// fn create(btf: &OwnedFd) -> skelgen_runtime::Result<HashMap<u32, [u64; 4]>> {
    ///     HashMap::create(NewMap::new("described", 100).btf(btf, 1, 5))
    /// }
    /// ```
    pub fn btf(self, btf: &'a impl AsFd, key_type_id: u32, value_type_id: u32) -> Self {
        Self { types: Some(Types { btf: Some(btf.as_fd()), key: key_type_id, value: value_type_id }), ..self }
    }

    /// Sets the template of the inner maps of a map of maps: a map with the type, sizes and flags of the maps that will
    /// be inserted. Maps of maps require a template. It can be closed after the outer map is created.
    pub fn inner_map(self, template: &'a impl AsFd) -> Self {
        Self { inner: Some(Inner::Map(template.as_fd())), ..self }
    }

    /// Sets the definition of the template of the inner maps of a map of maps. The definition sets the map type and the
    /// sizes, as for an [`Untyped`] handle. `create` creates a map from it, passes this map as the template, and closes
    /// it.
    ///
    /// ```no_run
    /// use skelgen_runtime::map::{Array, ArrayOfMaps, NewMap};
    /// use skelgen_runtime::uapi::MapType;
    ///
    /// let inner = NewMap::new("inner", 64).map_type(MapType::ARRAY).value_size(8);
    /// let outer = ArrayOfMaps::<Array<u64>>::create(NewMap::new("outer", 8).inner_definition(inner))?;
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    pub fn inner_definition(self, template: NewMap<'a>) -> Self {
        Self { inner: Some(Inner::Definition(Box::new(template))), ..self }
    }

    /// Sets the BPF token to create the map with (Linux 6.9); none by default. See
    /// [`kernel::token::create`](crate::kernel::token::create).
    ///
    /// ```no_run
    /// use skelgen_runtime::kernel::token;
    /// use skelgen_runtime::map::{Array, NewMap};
    ///
    /// let token = token::create("/sys/fs/bpf")?;
    /// let counts = Array::<u64>::create(NewMap::new("counts", 16).token(&token))?;
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    pub fn token(self, token: &'a impl AsFd) -> Self {
        Self { token: Some(token.as_fd()), ..self }
    }

    /// Sets the index of the network device to offload the map to (Linux 4.16). The default, 0, means no offload.
    pub fn ifindex(self, ifindex: u32) -> Self {
        Self { ifindex, ..self }
    }

    /// Makes the map exclusive to the program with this hash (Linux 6.18): the kernel rejects all other programs that use
    /// the map. Such a map cannot be an inner map.
    ///
    /// The hash is the SHA-256 of the program's instructions as they are loaded, after CO-RE relocation, in which the
    /// immediates of 64-bit immediate loads with a map's file descriptor (`BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE`)
    /// are zero. Its first eight bytes are the [tag](crate::Program::tag) that the kernel reports. With the feature
    /// `exclusive-maps` of this crate, `Program::hash` returns it.
    ///
    /// ```
    /// use skelgen_runtime::map::{Array, NewMap};
    ///
    /// fn create(hash: [u8; 32]) -> skelgen_runtime::Result<Array<u64>> {
    ///     Array::create(NewMap::new("secrets", 16).exclusive_hash(hash))
    /// }
    /// ```
    pub fn exclusive_hash(self, hash: [u8; 32]) -> Self {
        Self { exclusive: Some(hash), ..self }
    }

    /// Returns the name.
    ///
    /// The functions that return attributes are called `get_*`, as those of [`std::process::Command`], because setters
    /// have the names of the attributes.
    #[must_use]
    pub fn get_name(&self) -> &str {
        &self.name
    }

    /// Returns the map type, if it is set.
    #[must_use]
    pub fn get_map_type(&self) -> Option<MapType> {
        self.map_type
    }

    /// Returns the size of a key in bytes, if it is set.
    #[must_use]
    pub fn get_key_size(&self) -> Option<u32> {
        self.key_size
    }

    /// Returns the size of a value in bytes, if it is set.
    #[must_use]
    pub fn get_value_size(&self) -> Option<u32> {
        self.value_size
    }

    /// Returns the maximum number of elements; of ring buffers the size in bytes.
    #[must_use]
    pub fn get_max_entries(&self) -> u32 {
        self.max_entries
    }

    /// Returns the flags that were set.
    pub fn get_flags(&self) -> MapFlags {
        self.flags
    }

    /// Creates the definition of a map of an object. The types of keys and values are in the object's BTF.
    pub(crate) fn of_row(row: &abi::Map) -> Self {
        let on_node = row.flags & MapFlags::NUMA_NODE.bits() != 0;
        let typed = (row.btf_key_type_id, row.btf_value_type_id) != (0, 0);
        Self {
            map_type: Some(row.map_type),
            key_size: Some(row.key_size),
            value_size: Some(row.value_size),
            flags: MapFlags::from_bits(row.flags).difference(MapFlags::NUMA_NODE),
            numa_node: on_node.then_some(row.numa_node),
            extra: row.extra,
            types: typed.then_some(Types { btf: None, key: row.btf_key_type_id, value: row.btf_value_type_id }),
            ..Self::new(row.name.clone(), row.max_entries)
        }
    }

    /// Adds the load's token. Adds the object's BTF if the sizes of the map's keys and values, in bytes, are the sizes
    /// of their BTF types.
    pub(crate) fn for_load(
        self,
        btf: Option<BorrowedFd<'a>>,
        sizes: (u32, u32),
        token: Option<BorrowedFd<'a>>,
    ) -> Self {
        let btf = btf.filter(|_| (self.key_size, self.value_size) == (Some(sizes.0), Some(sizes.1)));
        let types = self.types.map(|types| Types { btf: types.btf.or(btf), ..types });
        Self { types, token: self.token.or(token), ..self }
    }

    /// Creates the map, for a handle that supports these maps.
    ///
    /// # Errors
    /// If the definition has no map type, does not match the handle, or the kernel rejects it.
    pub(crate) fn create(self, supports: &Supports) -> Result<Untyped> {
        let created = self.handle(supports);
        created.map_err(|error| error.during(Step::CreateMap).about(Subject::Map(&self.name)))
    }

    fn handle(&self, supports: &Supports) -> Result<Untyped> {
        let row = self.row(supports)?;
        let made;
        let inner = match &self.inner {
            Some(Inner::Map(template)) => {
                check_template(&self.name, *template, "`NewMap::inner_map`")?;
                Some(*template)
            }
            Some(Inner::Definition(template)) => {
                let token = template.token.or(self.token);
                made = NewMap { token, ..(**template).clone() }.create_template(&self.name)?;
                Some(made.as_fd())
            }
            None => None,
        };
        let generic;
        let types = match self.types.filter(|types| types.btf.is_some()) {
            Some(types) => Some(types),
            None if MapFacts::of(row.map_type).is_some_and(|facts| facts.requires_types) => {
                generic = self.generic_types(&row)?;
                Some(Types { btf: Some(generic.as_fd()), key: types::KEY, value: types::VALUE })
            }
            None => None,
        };
        let map = abi::Map {
            btf_key_type_id: types.map_or(0, |types| types.key),
            btf_value_type_id: types.map_or(0, |types| types.value),
            ..row
        };
        let mut request = Request {
            map,
            inner,
            btf: types.and_then(|types| types.btf),
            kernel_value: None,
            token: self.token,
            ifindex: self.ifindex,
            exclusive: self.exclusive.as_ref(),
        };
        let is_typed = request.btf.is_some();
        let map = send(&mut request, false, &mut false)?.map_err(|errno| {
            rejected(&self.name, &request, is_typed, errno, remedy)
                .unwrap_or_else(|error| self.advise(error, Delegable::Map(request.map.map_type)))
        })?;
        let inner = inner.and_then(|inner| Template::of(inner).ok());
        Untyped::created(map, self.name.clone(), inner)
    }

    /// Returns the map's row in the plan. Unset fields take the values that the handle or the map type requires.
    fn row(&self, supports: &Supports) -> Result<abi::Map> {
        let Some(map_type) = self.map_type.or(supports.default_type()) else {
            return Err(Error::invalid(format_args!("cannot create map `{}`: its map type is not set", self.name))
                .with_help("set the map type with `NewMap::map_type`"));
        };
        let facts = MapFacts::of(map_type);
        let key_size = self.key_size.or_else(|| supports.key_size(facts)).unwrap_or(0);
        let value_size = self.value_size.or_else(|| supports.value_size(facts)).unwrap_or(0);
        let len = |size| usize::try_from(size).unwrap_or(usize::MAX);
        if let Some(mismatch) = supports.mismatch(map_type, len(key_size), len(value_size)) {
            return Err(Error::mismatch(format_args!("cannot create map `{}`: {mismatch}", self.name)));
        }
        let required = facts.map_or(0, |facts| facts.required_flags);
        let on_node = if self.numa_node.is_some() { MapFlags::NUMA_NODE } else { MapFlags::empty() };
        Ok(abi::Map {
            name: self.name.clone(),
            kernel_name: self.name.clone(),
            key_size,
            value_size,
            max_entries: max_entries(map_type, self.max_entries)?,
            flags: (self.flags | on_node).bits() | required,
            numa_node: self.numa_node.unwrap_or(0),
            extra: self.extra,
            ..abi::Map::new("", map_type)
        })
    }

    /// Creates the template of the inner maps of map `outer`.
    ///
    /// # Errors
    /// Those of [`create`](Self::create). Also if a map of maps cannot contain such maps.
    pub(crate) fn create_template(&self, outer: &str) -> Result<Untyped> {
        let within =
            |error: Error| error.within(format_args!("cannot create the template of the inner maps of `{outer}`"));
        let made = self.handle(&Supports::ANY).map_err(within)?;
        check_template(outer, made.as_fd(), "`inner_map`")?;
        Ok(made)
    }

    /// Loads BTF for a map whose type requires types.
    fn generic_types(&self, row: &abi::Map) -> Result<OwnedFd> {
        let loaded =
            sys::btf::load(&types::of_bytes(row.value_size), self.token, &mut []).and_then(|(result, _)| result);
        loaded.map_err(|errno| {
            let what = format!("cannot load the types of keys and values of map `{}`", self.name);
            self.advise(Error::refused(what, errno), Delegable::Btf)
        })
    }

    fn advise(&self, error: Error, request: Delegable) -> Error {
        token::advise(error, self.token, request, "pass the token to `NewMap::token`")
    }
}

/// Returns how to correct a fault of a definition.
fn remedy(fault: &Fault) -> String {
    let setter = match fault {
        Fault::NoInner { .. } => "inner_definition",
        Fault::Untyped { .. } => "btf",
        other => other.setter().trim_start_matches("set_"),
    };
    format!("call `NewMap::{setter}`")
}
