//! The step that writes the running kernel's configuration to section `.kconfig`.

use super::assemble::functions;
use super::state::{created, open_map};
use super::{Executor, is_eperm, parts};
use crate::abi::{Kconfig, KconfigKind, PatchKind};
use crate::error::{Error, Result, Subject};
use crate::kernel::causes::advise;
use crate::kernel::kconfig;
use crate::kernel::probe::without_rights;
use crate::kernel::syscalls;
use crate::sys;
use crate::uapi::elem_flags;

/// The part of the executor for objects with kernel configuration.
pub(super) static PART: parts::Kconfig = parts::Kconfig { fill: Executor::fill_kconfig };

impl Executor {
    fn fill_kconfig(&mut self, map: u32) -> Result<()> {
        let size = open_map(&self.maps, map)?.row.value_size;
        let mut values = Values::new(&self.object.kconfig, size);
        values.resolve_kernel(self)?;
        if let Some(text) = &self.options.kconfig {
            values.resolve_options(text);
        }
        let given = self.options.kconfig.is_some();
        let wanted: Vec<_> = values.wanted_options().collect();
        if !wanted.is_empty() {
            match kconfig::text()? {
                Some(text) => values.resolve_options(&text),
                None if given => {}
                None => {
                    for config in wanted {
                        if let Some(program) = self.reader_of(map, config)? {
                            return Err(nowhere(program));
                        }
                    }
                }
            }
        }
        self.has_cookies = values.has_cookies();
        // A missing value, or one of the wrong type, is an error only if a program reads it.
        for (config, state) in self.object.kconfig.iter().zip(values.states) {
            let error = match state {
                State::Unknown if !config.weak => missing(config),
                State::Wrong(error) => error,
                State::Unknown | State::Known => continue,
            };
            if let Some(program) = self.reader_of(map, config)? {
                return Err(error
                    .about(Subject::Program(program))
                    .within(format_args!("cannot load program `{program}`")));
            }
        }
        let Some(created) = created(&self.maps, map).filter(|created| !created.is_reused()) else {
            return Ok(());
        };
        created
            .map
            .update(&0_u32.to_ne_bytes(), &values.bytes, elem_flags::ANY)
            .map_err(|errno| advise(Error::refused("cannot write section `.kconfig`", errno)))
    }

    /// Returns a program that reads this variable and will be loaded.
    fn reader_of(&self, map: u32, config: &Kconfig) -> Result<Option<&'static str>> {
        for open in self.programs.iter().map(|program| &program.open).filter(|open| open.autoload) {
            for (_, function) in functions(self.object, open.definition) {
                let body = &function?.body;
                let insns = self.bytes(body.insns)?;
                let mut reads = self.patches(body)?.flatten().filter(|patch| patch.kind == PatchKind::Map(map));
                let reads = reads.any(|patch| {
                    // The offset into the section is the second immediate of the 64-bit immediate load.
                    let begin = usize::try_from(patch.insn).ok().and_then(|insn| insn.checked_mul(8)?.checked_add(12));
                    let offset = begin.and_then(|begin| insns.get(begin..)?.first_chunk::<4>());
                    offset.is_some_and(|offset| {
                        let inside = u32::from_ne_bytes(*offset).checked_sub(config.offset);
                        inside.is_some_and(|inside| inside < config.size)
                    })
                });
                if reads {
                    return Ok(Some(&*open.definition.name));
                }
            }
        }
        Ok(None)
    }
}

/// Returns whether programs can read their attach cookies. Returns `false` if this process has no right to load
/// tracepoint programs, because the feature probe loads one.
fn has_bpf_cookie(executor: &mut Executor) -> Result<bool> {
    let mut answer = kconfig::has_bpf_cookie();
    if is_eperm(&answer) {
        sys::lift_memlock_once(&mut executor.memlock);
        answer = kconfig::has_bpf_cookie();
    }
    without_rights(answer, false)
}

fn nowhere(program: &str) -> Error {
    Error::not_found(format_args!(
        "program `{program}` reads kernel configuration options, but the running kernel's configuration was not found"
    ))
    .about(Subject::Program(program))
    .with_help(
        "searched /boot/config-RELEASE, /proc/config.gz (CONFIG_IKCONFIG_PROC) and /lib/modules/RELEASE/config; set the configuration with \
         `LoadOptions::set_kconfig`",
    )
}

fn missing(config: &Kconfig) -> Error {
    Error::not_found(format_args!("kernel configuration option `{}` is not set in this kernel", config.name))
        .about(Subject::Variable(&config.name))
        .with_help(
            "declare it `__weak` if it can be missing, set it with `LoadOptions::set_kconfig`, or leave the program out",
        )
}

/// The contents of the section while its variables are set.
struct Values {
    configs: &'static [Kconfig],
    states: Vec<State>,
    bytes: Vec<u8>,
}

/// The state of a variable.
enum State {
    Unknown,
    Known,
    /// The configuration has a value that does not match the variable's type.
    Wrong(Error),
}

impl Values {
    fn new(configs: &'static [Kconfig], size: u32) -> Self {
        let size = usize::try_from(size).unwrap_or(0);
        Self { configs, states: configs.iter().map(|_| State::Unknown).collect(), bytes: vec![0; size] }
    }

    /// Sets the variables that are not options of a configuration file: the version and features of the kernel.
    fn resolve_kernel(&mut self, executor: &mut Executor) -> Result<()> {
        for (index, config) in self.configs.iter().enumerate() {
            let value = match &*config.name {
                "LINUX_KERNEL_VERSION" => kconfig::version()?,
                "LINUX_HAS_BPF_COOKIE" => {
                    // Kernels with BPF tokens have the feature. A probe could fail on these, because the token need not
                    // delegate tracepoint programs.
                    (executor.token().is_some() || has_bpf_cookie(executor)?).into()
                }
                "LINUX_HAS_SYSCALL_WRAPPER" => syscalls::has_wrappers()?.into(),
                _ => continue,
            };
            let result = if config.kind == KconfigKind::Bool {
                self.write(index, &[u8::from(value != 0)])
            } else {
                self.integer(index, value.into(), &value.to_string())
            };
            self.states[index] = result.map_or_else(State::Wrong, |()| State::Known);
        }
        Ok(())
    }

    /// Sets the remaining variables from the text of a configuration.
    fn resolve_options(&mut self, text: &[u8]) {
        for (name, value) in kconfig::options(text) {
            let index = self.configs.iter().position(|config| config.name == name);
            if let Some(index) = index.filter(|&index| matches!(self.states[index], State::Unknown)) {
                self.states[index] = self.option(index, value).map_or_else(State::Wrong, |()| State::Known);
            }
        }
    }

    /// Returns the value of the variable `LINUX_HAS_BPF_COOKIE`, if the object has it. The value determines whether
    /// USDT programs find their specification by the attach cookie or by the address.
    fn has_cookies(&self) -> Option<bool> {
        let config = self.configs.iter().find(|config| config.name == "LINUX_HAS_BPF_COOKIE")?;
        let begin = usize::try_from(config.offset).ok()?;
        let bytes = self.bytes.get(begin..)?.get(..usize::try_from(config.size).ok()?)?;
        Some(bytes.iter().any(|&byte| byte != 0))
    }

    fn option(&mut self, index: usize, value: &str) -> Result<()> {
        let kind = self.configs[index].kind;
        match (value, kind) {
            ("y" | "n", KconfigKind::Bool) => self.write(index, &[u8::from(value == "y")]),
            ("y" | "n" | "m", KconfigKind::Tristate) => {
                let number = ["n", "y", "m"].iter().position(|&state| state == value).unwrap_or(0);
                self.write(index, &u32::try_from(number).unwrap_or(0).to_ne_bytes())
            }
            ("y" | "n" | "m", KconfigKind::Char { .. }) => self.write(index, value.as_bytes()),
            (_, KconfigKind::Text) => {
                let text = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let text = text.ok_or_else(|| self.mismatch(index, value))?.as_bytes();
                let most = usize::try_from(self.configs[index].size).unwrap_or(0).saturating_sub(1);
                self.write(index, &text[..text.len().min(most)])
            }
            (_, KconfigKind::Char { .. } | KconfigKind::Integer { .. }) => {
                let number = parse(value).ok_or_else(|| self.mismatch(index, value))?;
                self.integer(index, number, value)
            }
            (_, KconfigKind::Bool | KconfigKind::Tristate) => Err(self.mismatch(index, value)),
        }
    }

    fn integer(&mut self, index: usize, number: i128, text: &str) -> Result<()> {
        let config = &self.configs[index];
        let (KconfigKind::Integer { signed } | KconfigKind::Char { signed }) = config.kind else {
            return Err(self.mismatch(index, text));
        };
        let bits = config.size.clamp(1, 8) * 8;
        let range = if signed { -(1_i128 << (bits - 1))..1 << (bits - 1) } else { 0..1 << bits };
        if !range.contains(&number) {
            return Err(self.mismatch(index, text));
        }
        let bytes = number.to_le_bytes();
        let mut bytes = bytes[..usize::try_from(config.size).unwrap_or(8).min(8)].to_vec();
        if cfg!(target_endian = "big") {
            bytes.reverse();
        }
        self.write(index, &bytes)
    }

    fn write(&mut self, index: usize, value: &[u8]) -> Result<()> {
        let config = &self.configs[index];
        let begin = usize::try_from(config.offset).unwrap_or(usize::MAX);
        let place = self.bytes.get_mut(begin..).and_then(|rest| rest.get_mut(..value.len()));
        let fits = usize::try_from(config.size).is_ok_and(|size| value.len() <= size);
        place
            .filter(|_| fits)
            .ok_or_else(|| {
                Error::malformed(format_args!(
                    "kernel configuration variable `{}` is outside of its section",
                    config.name
                ))
            })?
            .copy_from_slice(value);
        Ok(())
    }

    fn mismatch(&self, index: usize, value: &str) -> Error {
        let config = &self.configs[index];
        let kind = match config.kind {
            KconfigKind::Bool => "a bool",
            KconfigKind::Tristate => "a tristate",
            KconfigKind::Char { .. } => "a char",
            KconfigKind::Integer { .. } => "an integer",
            KconfigKind::Text => "a string",
        };
        let plural = if config.size == 1 { "" } else { "s" };
        Error::mismatch(format_args!(
            "kernel configuration option `{}` is {value}, but the object declares it as {kind} of {} byte{plural}",
            config.name, config.size
        ))
        .about(Subject::Variable(&config.name))
        .with_help("declare it with a different type in the BPF source")
    }

    /// Iterates over the `CONFIG_` variables that have no value yet.
    fn wanted_options(&self) -> impl Iterator<Item = &'static Kconfig> {
        let unknown = |(config, state): (&'static Kconfig, &State)| {
            (matches!(state, State::Unknown) && config.name.starts_with("CONFIG_")).then_some(config)
        };
        self.configs.iter().zip(&self.states).filter_map(unknown)
    }
}

/// Parses a number of a configuration: decimal, or hexadecimal after `0x`.
fn parse(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(sign * i128::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn config(name: &'static str, kind: KconfigKind, offset: u32, size: u32) -> Kconfig {
        Kconfig::new(name, kind, offset, size)
    }

    static CONFIGS: [Kconfig; 6] = [
        config("CONFIG_INT", KconfigKind::Integer { signed: true }, 0, 4),
        config("CONFIG_SHORT", KconfigKind::Integer { signed: false }, 4, 2),
        config("CONFIG_CHAR", KconfigKind::Char { signed: true }, 6, 1),
        config("CONFIG_BOOL", KconfigKind::Bool, 7, 1),
        config("CONFIG_STATE", KconfigKind::Tristate, 8, 4),
        config("CONFIG_TEXT", KconfigKind::Text, 12, 4),
    ];

    fn values(text: &str) -> Result<Vec<u8>> {
        let mut values = Values::new(&CONFIGS, 16);
        values.resolve_options(text.as_bytes());
        let wrong = |state| if let State::Wrong(error) = state { Some(error) } else { None };
        values.states.into_iter().find_map(wrong).map_or(Ok(values.bytes), Err)
    }

    #[test]
    fn every_kind() {
        let text =
            "CONFIG_INT=-2\nCONFIG_SHORT=0x102\nCONFIG_CHAR=m\nCONFIG_BOOL=y\nCONFIG_STATE=m\nCONFIG_TEXT=\"abcdef\"\n";
        let mut expected = (-2_i32).to_ne_bytes().to_vec();
        expected.extend(0x102_u16.to_ne_bytes());
        expected.extend([b'm', 1]);
        expected.extend(2_u32.to_ne_bytes());
        expected.extend(b"abc\0");
        assert_eq!(values(text).unwrap(), expected);
    }

    #[test]
    fn the_first_value_counts() {
        let bytes = values("CONFIG_INT=1\nCONFIG_INT=2\n").unwrap();
        assert_eq!(bytes[..4], 1_u32.to_ne_bytes());
        assert!(values("CONFIG_INT=y\nCONFIG_INT=2\n").is_err());
    }

    #[test]
    fn values_of_other_types_are_errors() {
        for text in
            ["CONFIG_BOOL=m", "CONFIG_BOOL=1", "CONFIG_INT=y", "CONFIG_SHORT=65536", "CONFIG_TEXT=y", "CONFIG_STATE=3"]
        {
            let error = values(text).unwrap_err();
            assert_eq!(error.subject(), Some(Subject::Variable(text.split('=').next().unwrap())), "{error}");
            crate::error::golden::check(&format!("kernel configuration: {text}"), crate::ErrorKind::Mismatch, &error);
        }
    }
}
