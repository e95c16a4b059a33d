//! The macro that a generated file calls. It defines the items of a skeleton from the names that the file passes.
//!
//! A generated file contains an object's names, its types, the tables of its load plan and its blob. All code that is the same for every
//! object is in this macro. To give each skeleton a new method, add it to the macro. To pass a new property of an object to it, extend the
//! grammar, which the generator's `rust/call.rs` writes, and raise `abi::VERSION`.
//!
//! # Safety
//! The only unsafe expressions, in [`skeleton!`] and `trusted!`, trust the tables that are passed to them. The call has `unsafe`, with a
//! comment that justifies it.

mod types;

/// Declares a skeleton: `open()`, `Open`, `Skeleton`, `Maps`, `Programs`, `Links` and, where the object has struct_ops maps, `StructOps`.
///
/// Only generated files call this macro. It expands to safe code, except for one unsafe expression: the promise that the tables and the
/// blob are the unmodified output of the generator for a trusted object. The word `unsafe` in the call makes this promise.
///
/// Each line has the index of a map or program in the object's tables:
///
/// ```text
/// skelgen_runtime::skeleton! {
///     version 10;
///     // SAFETY: ...
///     unsafe object "counters" = tables::OBJECT, endian "little";
///     parts percpu, symbols;
///     unattached left;
///     rodata ".rodata" = 0, Rodata: rodata, rodata_mut, rodata_resize;
///     data ".bss" = 1, Bss, BssCells: bss, bss_mut, bss_resize;
///     percpu ".percpu" = 2, Percpu: percpu, percpu_mut, percpu_resize;
///     kconfig ".kconfig" = 3, Kconfig: kconfig;
///     arena ".addr_space.1" = 4, Arena, ArenaCells: arena, arena_mut in heap;
///     maps {
///         /// `events`, a map of type ringbuf.
///         map events: rt::map::RingBuf = 5;
///     }
///     programs {
///         /// `SEC("raw_tp/sys_enter")`, type raw_tracepoint.
///         count = 0, link count by raw_tracepoint;
///     }
///     struct_ops {
///         /// `cubic`, a `struct tcp_congestion_ops`.
///         cubic: types::tcp_congestion_ops = 6, link cubic_1;
///     }
/// }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! skeleton {
    (
        version $version:literal;
        unsafe object $name:literal = $object:path, endian $endian:literal;
        parts $($part:ident),*;
        unattached $left:ident;
        $(rodata $rodata_name:literal = $rodata_index:literal, $Rodata:ident:
            $rodata:ident, $rodata_mut:ident, $rodata_resize:ident;)*
        $(data $data_name:literal = $data_index:literal, $Data:ident, $DataCells:ident:
            $data:ident, $data_mut:ident, $data_resize:ident;)*
        $(percpu $percpu_name:literal = $percpu_index:literal, $Percpu:ident:
            $percpu:ident, $percpu_mut:ident, $percpu_resize:ident;)*
        $(kconfig $kconfig_name:literal = $kconfig_index:literal, $Kconfig:ident: $kconfig:ident;)*
        $(arena $arena_name:literal = $arena_index:literal, $Arena:ident, $ArenaCells:ident:
            $arena:ident, $arena_mut:ident in $heap:ident;)*
        maps { $(
            #[doc = $map_doc:literal]
            $map_kind:ident $map:ident: $Map:ty = $map_index:literal;
        )* }
        programs { $(
            #[doc = $program_doc:literal]
            $program:ident = $program_index:literal $(, link $link:ident by $way:ident)?;
        )* }
        $($struct_ops:ident { $(
            #[doc = $table_doc:literal]
            $table:ident: $Table:ty = $table_index:literal, link $table_link:ident;
        )* })?
    ) => {
        const _: () = ::core::assert!(
            $crate::generated::abi::VERSION == $version,
            "this file was generated for a different version of skelgen-runtime: generate it again"
        );
        const _: () = ::core::assert!(
            ::core::cfg!(target_endian = $endian),
            ::core::concat!("this object was compiled for a ", $endian, "-endian target: compile it for this one")
        );

        /// Opens the object. Nothing is loaded into the kernel yet.
        #[must_use]
        pub fn open() -> Open {
            Open {
                maps: OpenMaps {
                    $($rodata: $crate::OpenMap::new(&$object, $rodata_index),)*
                    $($data: $crate::OpenMap::new(&$object, $data_index),)*
                    $($percpu: $crate::OpenMap::new(&$object, $percpu_index),)*
                    $($kconfig: $crate::OpenMap::new(&$object, $kconfig_index),)*
                    $($map: $crate::OpenMap::new(&$object, $map_index),)*
                },
                programs: OpenPrograms { $($program: $crate::OpenProgram::new(&$object, $program_index),)* },
                $($struct_ops: OpenStructOps { $($table: $crate::OpenStructOps::new(&$object, $table_index),)* },)?
                options: $crate::LoadOptions::new(),
                $($rodata: $crate::Initial::new(&$object, $rodata_index),)*
                $($data: $crate::Initial::new(&$object, $data_index),)*
                $($percpu: $crate::Initial::new(&$object, $percpu_index),)*
                $($arena: $crate::Initial::new(&$object, $arena_index),)*
            }
        }

        /// The object before it is loaded, when its settings can still be changed.
        #[derive(::core::fmt::Debug)]
        pub struct Open {
            /// The maps.
            pub maps: OpenMaps,
            /// The programs.
            pub programs: OpenPrograms,
            $(
                /// The struct_ops maps.
                pub $struct_ops: OpenStructOps,
            )?
            /// The options of the load.
            pub options: $crate::LoadOptions,
            $(
                #[doc = ::core::concat!(" Mutable access to the initial value of section `", $rodata_name, "`.")]
                pub $rodata: $crate::Initial<$Rodata>,
            )*
            $(
                #[doc = ::core::concat!(" Mutable access to the initial value of section `", $data_name, "`.")]
                pub $data: $crate::Initial<$Data>,
            )*
            $(
                #[doc = ::core::concat!(" Mutable access to the initial value of section `", $percpu_name, "`.")]
                pub $percpu: $crate::Initial<$Percpu>,
            )*
            $(
                #[doc = ::core::concat!(" Mutable access to the initial value of section `", $arena_name, "`.")]
                pub $arena: $crate::Initial<$Arena>,
            )*
        }

        impl Open {
            $($crate::skeleton! { @initial $rodata_name, "", $Rodata: $rodata, $rodata_mut, $rodata_resize })*
            $($crate::skeleton! { @initial $data_name, "", $Data: $data, $data_mut, $data_resize })*
            $($crate::skeleton! { @initial $percpu_name, ", with which every CPU starts", $Percpu: $percpu, $percpu_mut, $percpu_resize })*
            $($crate::skeleton! { @initial $arena_name, "", $Arena: $arena, $arena_mut })*

            /// Loads every map and program.
            ///
            /// # Errors
            /// If a setting is not valid, or the kernel rejects a map or program or lacks a symbol that the object requires. The error has the
            /// step and its subject. On error, nothing stays loaded.
            pub fn load(self) -> $crate::Result<Skeleton> {
                $crate::OpenObject::load(self)
            }

            /// Creates the maps, but does not load the programs yet.
            ///
            /// # Errors
            /// If a setting is not valid, or the kernel rejects a map or lacks a symbol that the object requires. On error, nothing stays
            /// loaded.
            pub fn prepare(self) -> $crate::Result<$crate::Prepared<Skeleton>> {
                $crate::OpenObject::prepare(self)
            }
        }

        impl $crate::OpenObject for Open {
            type Loaded = Skeleton;

            fn name(&self) -> &'static $crate::generated::prelude::str {
                $name
            }

            fn maps(&self) -> impl ::core::iter::Iterator<Item = &$crate::OpenMap> {
                $crate::generated::each([
                    $(&self.maps.$rodata,)*
                    $(&self.maps.$data,)*
                    $(&self.maps.$percpu,)*
                    $(&self.maps.$kconfig,)*
                    $(&self.maps.$map,)*
                    $($(self.$struct_ops.$table.map(),)*)?
                ])
            }

            fn maps_mut(&mut self) -> impl ::core::iter::Iterator<Item = &mut $crate::OpenMap> {
                $crate::generated::each([
                    $(&mut self.maps.$rodata,)*
                    $(&mut self.maps.$data,)*
                    $(&mut self.maps.$percpu,)*
                    $(&mut self.maps.$kconfig,)*
                    $(&mut self.maps.$map,)*
                    $($(self.$struct_ops.$table.map_mut(),)*)?
                ])
            }

            fn programs(&self) -> impl ::core::iter::Iterator<Item = &$crate::OpenProgram> {
                $crate::generated::each([$(&self.programs.$program,)*])
            }

            fn programs_mut(&mut self) -> impl ::core::iter::Iterator<Item = &mut $crate::OpenProgram> {
                $crate::generated::each([$(&mut self.programs.$program,)*])
            }

            fn options_mut(&mut self) -> &mut $crate::LoadOptions {
                &mut self.options
            }

            fn into_loading(self) -> $crate::generated::Loading {
                // SAFETY: by the word `unsafe`, the caller of the macro promises that the tables and the blob are unmodified.
                static TRUSTED: $crate::generated::Trusted = unsafe { $crate::generated::Trusted::new(&$object) };
                const PARTS: $crate::generated::Parts = $crate::generated::Parts::NONE$(.$part())*;
                #[allow(unused_mut, reason = "an object may have no maps or programs")]
                let mut loading = $crate::generated::Loading::with(TRUSTED, PARTS, self.options);
                $(loading.program($program_index, self.programs.$program);)*
                $($(loading.struct_ops($table_index, self.$struct_ops.$table);)*)?
                $(loading.section($rodata_index, self.maps.$rodata, self.$rodata);)*
                $(loading.section($data_index, self.maps.$data, self.$data);)*
                $(loading.section($percpu_index, self.maps.$percpu, self.$percpu);)*
                $(loading.map($kconfig_index, self.maps.$kconfig);)*
                $(loading.map($map_index, self.maps.$map);)*
                $(loading.variables($arena_index, self.$arena);)*
                loading
            }
        }

        /// The maps before they are created.
        #[derive(::core::fmt::Debug)]
        pub struct OpenMaps {
            $(
                #[doc = ::core::concat!(" The map of section `", $rodata_name, "`.")]
                pub $rodata: $crate::OpenMap,
            )*
            $(
                #[doc = ::core::concat!(" The map of section `", $data_name, "`.")]
                pub $data: $crate::OpenMap,
            )*
            $(
                #[doc = ::core::concat!(" The map of section `", $percpu_name, "`.")]
                pub $percpu: $crate::OpenMap,
            )*
            $(
                #[doc = ::core::concat!(" The map of section `", $kconfig_name, "`.")]
                pub $kconfig: $crate::OpenMap,
            )*
            $(#[doc = $map_doc] pub $map: $crate::OpenMap,)*
        }

        /// The programs before they are loaded.
        #[derive(::core::fmt::Debug)]
        pub struct OpenPrograms {
            $(#[doc = $program_doc] pub $program: $crate::OpenProgram,)*
        }

        $(
            /// The struct_ops maps before they are created: structs whose values can be changed.
            #[derive(::core::fmt::Debug)]
            pub struct OpenStructOps {
                $(#[doc = $table_doc] pub $table: $crate::OpenStructOps<$Table>,)*
            }

            $crate::skeleton! { @struct_ops $struct_ops $([$table_doc] $table)* }
        )?

        /// The loaded object. Dropping it closes its maps and programs.
        #[derive(::core::fmt::Debug)]
        pub struct Skeleton {
            /// The maps.
            pub maps: Maps,
            /// The programs.
            pub programs: Programs,
            $(
                /// The struct_ops maps.
                pub $struct_ops: StructOps,
            )?
            $(
                #[doc = ::core::concat!(" The map of section `", $rodata_name, "`.")]
                pub $rodata: $crate::Frozen<$Rodata>,
            )*
            $(
                #[doc = ::core::concat!(" The map of section `", $data_name, "`.")]
                pub $data: $crate::Mapped<$Data>,
            )*
            $(
                #[doc = ::core::concat!(" The map of section `", $percpu_name, "`.")]
                pub $percpu: $crate::PercpuData<$Percpu>,
            )*
            $(
                #[doc = ::core::concat!(" The map of section `", $kconfig_name, "`.")]
                pub $kconfig: $crate::Frozen<$Kconfig>,
            )*
        }

        impl Skeleton {
            $(
                #[doc = ::core::concat!(" Returns the value of section `", $rodata_name, "`.")]
                #[must_use]
                pub fn $rodata(&self) -> &$Rodata {
                    self.$rodata.get()
                }
            )*
            $(
                #[doc = ::core::concat!(" Returns the variables of section `", $data_name, "`, as they are now.")]
                #[must_use]
                pub fn $data(&self) -> $DataCells<'_> {
                    $crate::generated::Fields::fields(self.$data.cell())
                }
            )*
            $(
                #[doc = ::core::concat!(" Returns section `", $percpu_name, "`: a value for each CPU.")]
                #[must_use]
                pub fn $percpu(&self) -> &$crate::PercpuData<$Percpu> {
                    &self.$percpu
                }
            )*
            $(
                #[doc = ::core::concat!(" Returns the value of section `", $kconfig_name, "`: the running kernel's configuration.")]
                #[must_use]
                pub fn $kconfig(&self) -> &$Kconfig {
                    self.$kconfig.get()
                }
            )*
            $(
                #[doc = ::core::concat!(" Returns the variables of section `", $arena_name, "`, as they are now.")]
                #[must_use]
                pub fn $arena(&self) -> $ArenaCells<'_> {
                    $crate::generated::Fields::fields(self.maps.$heap.globals())
                }
            )*

            /// Attaches every program that was loaded and every struct_ops map that was created, unless `set_autoattach(false)` excluded
            /// it.
            ///
            /// Programs that need an argument to attach, such as a network interface, are not attached: [`Links::left`] lists them with the
            /// argument that they need, and [`Links::complete`] returns an error for them.
            ///
            /// # Errors
            /// If the kernel rejects an attachment, or every program needs an argument to attach. On error, nothing stays attached.
            pub fn attach(&self) -> $crate::Result<Links> {
                #[allow(unused_mut, reason = "an object may have nothing to attach")]
                let mut attaching = $crate::generated::Attaching::new();
                ::core::result::Result::Ok(Links {
                    $($($link: attaching.program(
                        ::core::stringify!($link), &self.programs.$program, $crate::generated::ways::$way,
                    )?,)?)*
                    $($($table_link: attaching.struct_ops(&self.$struct_ops.$table)?,)*)?
                    $left: attaching.finish()?,
                })
            }

            /// Attaches as [`Self::attach`] does, and returns the skeleton together with its links, so that it stays attached until it is
            /// dropped.
            ///
            /// # Errors
            /// Those of [`Self::attach`]. On error, the skeleton is dropped.
            pub fn into_attached(self) -> $crate::Result<$crate::Attached<Self>> {
                $crate::Object::into_attached(self)
            }
        }

        impl $crate::Object for Skeleton {
            type Links = Links;

            fn name(&self) -> &'static $crate::generated::prelude::str {
                $name
            }

            fn maps(&self) -> impl ::core::iter::Iterator<Item = &$crate::map::Untyped> {
                $crate::generated::each_some([
                    $(::core::option::Option::Some(self.$rodata.as_untyped()),)*
                    $(::core::option::Option::Some(self.$data.as_untyped()),)*
                    $(::core::option::Option::Some(self.$percpu.as_untyped()),)*
                    $(::core::option::Option::Some(self.$kconfig.as_untyped()),)*
                    $($crate::skeleton!(@untyped $map_kind self.maps.$map),)*
                ])
            }

            fn programs(&self) -> impl ::core::iter::Iterator<Item = &$crate::Program> {
                $crate::generated::each([$(&self.programs.$program,)*])
            }

            fn struct_ops(&self) -> impl ::core::iter::Iterator<Item = &$crate::link::StructOps> {
                $crate::generated::each([$($(&self.$struct_ops.$table,)*)?])
            }

            fn attach(&self) -> $crate::Result<Links> {
                self.attach()
            }

            fn from_loaded(
                #[allow(unused_mut, unused_variables, reason = "an object may have no maps or programs")]
                mut loaded: $crate::generated::Loaded,
            ) -> $crate::Result<Self> {
                ::core::result::Result::Ok(Self {
                    maps: Maps { $($map: $crate::skeleton!(@take $map_kind loaded $map_index),)* },
                    programs: Programs { $($program: loaded.take_program($program_index),)* },
                    $($struct_ops: StructOps { $($table: loaded.take_struct_ops($table_index),)* },)?
                    $($rodata: loaded.take_map($rodata_index)?,)*
                    $($data: loaded.take_map($data_index)?,)*
                    $($percpu: loaded.take_map($percpu_index)?,)*
                    $($kconfig: loaded.take_map($kconfig_index)?,)*
                })
            }
        }

        /// The maps.
        #[derive(::core::fmt::Debug)]
        pub struct Maps {
            $(#[doc = $map_doc] pub $map: $Map,)*
        }

        impl $crate::map::FindMap for Maps {
            fn find_map(&self, name: &str) -> $crate::Result<::core::option::Option<$crate::generated::prelude::OwnedFd>> {
                $crate::generated::find_map(
                    &$object,
                    name,
                    &[$(($map_index, $crate::skeleton!(@fd $map_kind self.$map))),*],
                )
            }

            fn what(&self) -> $crate::generated::prelude::String {
                ::core::convert::From::from(::core::concat!("object `", $name, "`"))
            }
        }

        /// The programs.
        #[derive(::core::fmt::Debug)]
        pub struct Programs {
            $(#[doc = $program_doc] pub $program: $crate::Program,)*
        }

        /// The links of the attached programs and struct_ops maps. A link is `None` if its program is not loaded, needs an argument to
        /// attach, or has auto-attach off. Dropping a link detaches its program.
        #[must_use = "dropping the links detaches the programs: keep them, as `let _links = skeleton.attach()?` does, not `let _ = …`"]
        #[derive(::core::fmt::Debug)]
        pub struct Links {
            $($(#[doc = $program_doc] pub $link: ::core::option::Option<$crate::Link>,)?)*
            $($(#[doc = $table_doc] pub $table_link: ::core::option::Option<$crate::Link>,)*)?
            $left: $crate::generated::prelude::Vec<$crate::link::Left>,
        }

        impl $crate::Links for Links {
            fn iter(&self) -> impl ::core::iter::Iterator<Item = (&'static $crate::generated::prelude::str, &$crate::Link)> {
                self.iter()
            }

            fn left(&self) -> impl ::core::iter::Iterator<Item = &$crate::link::Left> {
                self.left()
            }
        }

        impl Links {
            /// Iterates over the links with the names of their fields.
            pub fn iter(&self) -> impl ::core::iter::Iterator<Item = (&'static str, &$crate::Link)> {
                $crate::generated::links([
                    $($((::core::stringify!($link), &self.$link),)?)*
                    $($((::core::stringify!($table_link), &self.$table_link),)*)?
                ])
            }

            /// Iterates over the programs that were not attached: they need an argument, or are optional and cannot be attached. A
            /// program whose link has been assigned to its field of `Links` is not included.
            pub fn left(&self) -> impl ::core::iter::Iterator<Item = &$crate::link::Left> {
                self.$left.iter().filter(|left| self.iter().all(|(name, _)| name != left.field()))
            }

            /// Returns the links if no program that needs an argument is left to attach.
            ///
            /// # Errors
            /// If such programs are left; the error lists them. On error, the attached programs are detached.
            pub fn complete(self) -> $crate::Result<Self> {
                $crate::generated::nothing_left(self.left())?;
                ::core::result::Result::Ok(self)
            }

            /// Pins each link in a directory of a bpffs, to a file with the name of the link's field. The directory is
            /// created if it does not exist.
            ///
            /// A process that is killed while it pins can leave some of the pins, whose programs stay attached. Remove
            /// the directory before the next attempt, or open the pins with `Link::open_pinned`.
            ///
            /// # Errors
            /// If a link cannot be pinned, for example because the file exists. On error, the pins of this call are removed.
            pub fn pin(&self, directory: impl ::core::convert::AsRef<$crate::generated::prelude::Path>) -> $crate::Result<()> {
                $crate::generated::pin_all(
                    &self.iter().collect::<$crate::generated::prelude::Vec<_>>(),
                    ::core::convert::AsRef::as_ref(&directory),
                )
            }
        }
    };
    (@initial $name:expr, $more:expr, $Value:ident: $get:ident, $get_mut:ident $(, $resize:ident)?) => {
        $(
            #[doc = ::core::concat!(" Resizes section `", $name, "` to `bytes` bytes. The added bytes are zero; read them with `tail()`.")]
            pub fn $resize(&mut self, bytes: u32) {
                self.maps.$get.set_value_size(bytes);
            }
        )?

        #[doc = ::core::concat!(" Returns the initial value of section `", $name, "`", $more, ".")]
        #[must_use]
        pub fn $get(&self) -> &$Value {
            self.$get.get()
        }

        #[doc = ::core::concat!(" Returns the initial value of section `", $name, "`", $more, ", for modification.")]
        #[must_use]
        pub fn $get_mut(&mut self) -> &mut $Value {
            self.$get.get_mut()
        }
    };
    (@struct_ops $struct_ops:ident $([$doc:literal] $table:ident)*) => {
        /// The struct_ops maps.
        #[derive(::core::fmt::Debug)]
        pub struct StructOps {
            $(#[doc = $doc] pub $table: $crate::link::StructOps,)*
        }
    };
    (@take map $loaded:ident $index:literal) => { $loaded.take_map($index)? };
    (@take optional_map $loaded:ident $index:literal) => { $loaded.take_map_if_created($index)? };
    (@take arena $loaded:ident $index:literal) => { $loaded.take_arena($index)? };
    (@take optional_arena $loaded:ident $index:literal) => { $loaded.take_arena_if_created($index)? };
    (@untyped map $map:expr) => { ::core::option::Option::Some($map.as_untyped()) };
    (@untyped arena $map:expr) => { $crate::skeleton!(@untyped map $map) };
    (@untyped optional_map $map:expr) => { $map.as_ref().map(|map| map.as_untyped()) };
    (@untyped optional_arena $map:expr) => { $crate::skeleton!(@untyped optional_map $map) };
    (@fd map $map:expr) => { ::core::option::Option::Some($crate::generated::prelude::AsFd::as_fd(&$map)) };
    (@fd arena $map:expr) => { $crate::skeleton!(@fd map $map) };
    (@fd optional_map $map:expr) => { $map.as_ref().map($crate::generated::prelude::AsFd::as_fd) };
    (@fd optional_arena $map:expr) => { $crate::skeleton!(@fd optional_map $map) };
    ($($other:tt)*) => {
        ::core::compile_error!("this file was generated for a different version of skelgen-runtime: generate it again");
    };
}

/// Declares an object of type `&'static abi::Object` as trusted, in a crate that forbids unsafe code. As in the call of `skeleton!`, the
/// word `unsafe` makes the promise of `Trusted::new`, and a comment beside the call states why it holds.
#[doc(hidden)]
#[macro_export]
macro_rules! trusted {
    (unsafe $object:expr) => {{
        let object: &'static $crate::generated::abi::Object = $object;
        // SAFETY: by the word `unsafe`, the caller of the macro makes the promise of `Trusted::new`.
        unsafe { $crate::generated::Trusted::new(object) }
    }};
}
