//! A loaded object: the result of a load, from which generated code takes the handles.

use super::maps::Created;
use super::state::{MapState, ProgramState};
use super::{at, at_mut, handle};
use crate::abi::{Object, SectionKind, Step};
use crate::error::{Error, Result, Subject};
use crate::link::StructOps;
use crate::map::{Arena, FromFd, Info, Opened};
use crate::pins::Pinned;
use crate::program::{Program, SharedSpecs};
use crate::uapi::MapType;

/// A loaded object, whose parts the generated code takes.
#[derive(Debug)]
pub struct Loaded {
    object: &'static Object,
    maps: Vec<MapState>,
    struct_ops: Vec<Option<StructOps>>,
    programs: Vec<Option<ProgramState>>,
    /// The specifications of USDT probes that the programs share.
    usdt_specs: Option<SharedSpecs>,
    /// The error for the object's BTF, if the programs were loaded without BTF.
    btf_refused: Option<String>,
    /// The pins of this load. They are kept when `Loaded` is dropped, and removed if a `take_*` function fails.
    pinned: Option<Box<dyn Pinned>>,
}

impl Drop for Loaded {
    /// Keeps the pins. The generated code has taken all handles, or an error has removed the pins already.
    fn drop(&mut self) {
        if let Some(pins) = self.pinned.take() {
            pins.keep();
        }
    }
}

impl Loaded {
    pub(super) fn new(
        object: &'static Object,
        (maps, struct_ops): (Vec<MapState>, Vec<Option<StructOps>>),
        (programs, usdt_specs, btf_refused): (Vec<ProgramState>, Option<SharedSpecs>, Option<String>),
        pinned: Option<Box<dyn Pinned>>,
    ) -> Self {
        // The items have the same size in both lists, so the second one is the memory of the first.
        let programs = programs.into_iter().map(Some).collect();
        Self { object, maps, struct_ops, programs, usdt_specs, btf_refused, pinned }
    }

    /// Returns the map with this index, as a handle of the type that generated code requests.
    ///
    /// # Errors
    /// If the map does not exist (its auto-create was off, or it was taken before), or does not match the handle's type. On error, the
    /// pins of this load are removed.
    pub fn take_map<M: FromFd>(&mut self, index: u32) -> Result<M> {
        let map = match self.take(index) {
            Some(created) => self.handle(index, created),
            None => Err(self.not_created(index)),
        };
        self.or_unpinned(map)
    }

    /// Returns the map with this index, or `None` if its auto-create was off.
    ///
    /// # Errors
    /// If the map does not match the handle's type. On error, the pins of this load are removed.
    pub fn take_map_if_created<M: FromFd>(&mut self, index: u32) -> Result<Option<M>> {
        let map = self.take(index).map(|created| self.handle(index, created)).transpose();
        self.or_unpinned(map)
    }

    /// Creates the handle of a map. If it does not match because the map was changed before the load, the error has help.
    fn handle<M: FromFd>(&self, index: u32, created: Created) -> Result<M> {
        let info = Info { frozen: self.frozen(index, &created), ..created.info };
        let map = Opened(created.map);
        let defined = at(&self.object.maps, index);
        let changed = defined.is_some_and(|defined| defined.section.is_none() && !map.is_as_defined(defined));
        M::from_fd(map, &info).map_err(|error| if changed { error.with_help(CHANGED) } else { error })
    }

    /// Returns the value of a section that this load wrote and froze.
    fn frozen(&self, index: u32, created: &Created) -> Option<&[u8]> {
        let is_frozen = |step: &Step| matches!(*step, Step::FreezeMap { map } if map == index);
        let section = at(&self.object.maps, index)?.section.filter(|section| section.kind == SectionKind::Rodata)?;
        if created.is_reused() || !self.object.steps.iter().any(is_frozen) {
            return None;
        }
        match &at(&self.maps, index)?.open.value {
            Some(value) => Some((**value).as_ref()),
            None => self.object.bytes(section.initial),
        }
    }

    /// Returns the arena with this index and its variables.
    ///
    /// # Errors
    /// Those of [`Self::take_map`].
    pub fn take_arena<T>(&mut self, index: u32) -> Result<Arena<T>> {
        let arena = self.take_arena_if_created(index)?.ok_or_else(|| self.not_created(index));
        self.or_unpinned(arena)
    }

    /// Returns the arena with this index, or `None` if its auto-create was off.
    ///
    /// # Errors
    /// Those of [`Self::take_map_if_created`].
    pub fn take_arena_if_created<T>(&mut self, index: u32) -> Result<Option<Arena<T>>> {
        let arena = match self.take(index) {
            Some(Created { map, info, arena: Some(arena), .. }) => {
                Arena::mapped(Opened(map), &info, arena.region, arena.globals).map(Some)
            }
            _ => Ok(None),
        };
        self.or_unpinned(arena)
    }

    fn take(&mut self, index: u32) -> Option<Created> {
        at_mut(&mut self.maps, index)?.created.take()
    }

    /// Returns the error of a map that does not exist.
    #[cold]
    fn not_created(&self, index: u32) -> Error {
        let name = at(&self.object.maps, index).map_or("?", |map| &map.name);
        let what = if at(&self.object.maps, index).is_some_and(|map| map.map_type == MapType::ARENA) {
            "arena"
        } else {
            "map"
        };
        Error::not_loaded(format_args!("{what} `{name}` was not created"))
            .about(Subject::Map(name))
            .with_help(NOT_CREATED)
    }

    /// Returns the result. On error, removes the pins of this load, since nothing will use them.
    fn or_unpinned<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            drop(self.pinned.take());
        }
        result
    }

    /// Returns the struct_ops map with this index.
    ///
    /// # Panics
    /// If the object has no such map or it was taken before, which means that the generated code is inconsistent.
    #[must_use]
    pub fn take_struct_ops(&mut self, index: u32) -> StructOps {
        match at_mut(&mut self.struct_ops, index).and_then(Option::take) {
            Some(table) => table,
            None => panic!("object `{}` has no struct_ops map {index}, or it was taken before", self.object.name),
        }
    }

    /// Returns the program with this index.
    ///
    /// # Panics
    /// If the object has no such program or it was taken before, which means that the generated code is inconsistent.
    #[must_use]
    pub fn take_program(&mut self, index: u32) -> Program {
        match at_mut(&mut self.programs, index).and_then(Option::take) {
            Some(ProgramState { open, loaded, rejected }) => handle(open, loaded, self.btf_refused.as_deref())
                .with_usdt_specs(self.usdt_specs.clone())
                .with_load_error(rejected),
            None => panic!("object `{}` has no program {index}, or it was taken before", self.object.name),
        }
    }
}

/// Help for a map that was not created although the skeleton has a handle of it.
const NOT_CREATED: &str = "auto-create of the map was off, but the skeleton has a handle for it: generate the skeleton with the map declared optional \
(`Builder::optional_map`, `skelgen gen --optional-map`)";

/// Help for a map that does not match its handle because it was changed.
const CHANGED: &str = "the type or sizes of the map were changed before the load, but the handle requires those that the object defines: generate the \
skeleton with a handle for any map (`Builder::untyped_map`, `skelgen gen --untyped-map`)";
