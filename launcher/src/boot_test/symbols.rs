//! Names of a kernel's functions, from an ELF file (vmlinux) or from a list like System.map. The
//! launch opens the file (--symbols), so that a bad file is reported at once; [`super::hang`] reads
//! it when the guest has hung. Addresses are those that the kernel was linked for, where lguest
//! starts it. A mangled name of Rust is printed as in its source.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::{Endianness, Object, ObjectSection, ObjectSymbol, ReadCache, SectionKind, SymbolKind};
use rustc_demangle::demangle;

/// The length that no function exceeds, in bytes. An address further from a function's beginning
/// belongs to something else.
const LONGEST: u64 = 1 << 20;

/// The length that no line of a list exceeds, in bytes.
const LINE: u64 = 4096;

type Elf<'a> = ElfFile<'a, FileHeader64<Endianness>, &'a ReadCache<File>>;

/// A file with the names of functions.
#[derive(Debug)]
pub(crate) struct Symbols {
    file: File,
    kind: SymbolFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SymbolFormat {
    Elf,
    List,
}

/// The function that an address is in, as far as the file says.
#[derive(Debug, Default)]
struct Nearest {
    at: u64,
    name: Option<String>,
}

impl Nearest {
    fn offer(&mut self, address: u64, start: u64, name: impl FnOnce() -> Option<String>) {
        let nearer = self.name.is_none() || start > self.at;
        if start <= address && address - start < LONGEST && nearer {
            *self = Self { at: start, name: name().or(self.name.take()) };
        }
    }
}

impl Symbols {
    /// Open a file with symbols.
    ///
    /// # Errors
    /// When it has no functions.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        ensure!(file.metadata()?.is_file(), "it is not a regular file");
        Self::of(file)
    }

    /// Use an open file with symbols.
    ///
    /// # Errors
    /// When it has no functions.
    pub(crate) fn of(mut file: File) -> Result<Self> {
        let mut magic = Vec::new();
        file.by_ref().take(4).read_to_end(&mut magic)?;
        if magic == *b"\x7fELF" {
            let symbols = Self { file, kind: SymbolFormat::Elf };
            let all = symbols.in_elf(|elf| elf.symbols().filter(is_function(elf)).count());
            ensure!(
                all.context("reading it as an ELF file")? > 0,
                "no functions are named in it: it was stripped; give the vmlinux that the kernel's \
                 build leaves, or a System.map"
            );
            return Ok(symbols);
        }
        let symbols = Self { file, kind: SymbolFormat::List };
        let (mut some, mut hidden) = (false, false);
        symbols.for_each_line(|start, _| {
            some |= start > 0;
            hidden |= start == 0;
        })?;
        match (some, hidden) {
            (true, _) => Ok(symbols),
            (_, true) => bail!("all addresses in it are 0: only root sees those of /proc/kallsyms"),
            _ => bail!(
                "no functions are named in it: it is neither a vmlinux nor a System.map (Debian \
                 has the latter in linux-image-VERSION-dbg, below /usr/lib/debug)"
            ),
        }
    }

    /// "function+0x12" for each of these addresses; None where the function is not known.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub(crate) fn names(&self, addresses: &[u64]) -> Result<Vec<Option<String>>> {
        let mut all: Vec<Nearest> = addresses.iter().map(|_| Nearest::default()).collect();
        let mut offer = |start: u64, name: &dyn Fn() -> Option<String>| {
            for (nearest, address) in all.iter_mut().zip(addresses) {
                nearest.offer(*address, start, name);
            }
        };
        match self.kind {
            SymbolFormat::List => {
                self.for_each_line(|start, name| offer(start, &|| Some(name.into())))?;
            }
            SymbolFormat::Elf => self.in_elf(|elf| {
                for symbol in elf.symbols().filter(is_function(elf)) {
                    offer(symbol.address(), &|| symbol.name().ok().map(str::to_string));
                }
            })?,
        }
        let named = all.into_iter().zip(addresses).map(|(nearest, address)| {
            let offset = address.saturating_sub(nearest.at);
            // Without the hash, which does not help the reader.
            nearest.name.map(|name| format!("{:#}+{offset:#x}", demangle(&name)))
        });
        Ok(named.collect())
    }

    fn in_elf<T>(&self, look: impl FnOnce(&Elf<'_>) -> T) -> Result<T> {
        let cache = ReadCache::new(self.file.try_clone()?);
        let elf = Elf::parse(&cache)?;
        Ok(look(&elf))
    }

    /// Pass the address and the name of each function of a list, such as "ffffffff81000000 T
    /// _text". A module's name may follow.
    fn for_each_line(&self, mut look: impl FnMut(u64, &str)) -> Result<()> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        let (mut lines, mut line) = (BufReader::new(file), Vec::new());
        loop {
            line.clear();
            if lines.by_ref().take(LINE).read_until(b'\n', &mut line).context("reading it")? == 0 {
                return Ok(());
            }
            let Ok(text) = std::str::from_utf8(&line) else { continue };
            let mut words = text.split_whitespace();
            let (Some(start), Some("t" | "T" | "w" | "W"), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if let Ok(start) = u64::from_str_radix(start, 16) {
                look(start, name);
            }
        }
    }
}

/// Whether a symbol is a function. Functions in assembly are not always marked as such.
fn is_function<'a, S: ObjectSymbol<'a>>(elf: &Elf<'_>) -> impl Fn(&S) -> bool {
    |symbol| {
        let in_code = || {
            let section = symbol.section_index().and_then(|it| elf.section_by_index(it).ok());
            section.is_some_and(|section| section.kind() == SectionKind::Text)
        };
        symbol.is_definition()
            && match symbol.kind() {
                SymbolKind::Text => true,
                SymbolKind::Unknown | SymbolKind::Label => in_code(),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn a_list_names_the_nearest_function() {
        let list = "0000000000000000 A fixed_percpu_data\n\
                    ffffffff81000000 T _text\n\
                    ffffffff81000300 d not_a_function\n\
                    ffffffff81000200 t second\n\
                    ffffffff81000100 T first\n\
                    ffffffffc0000000 t probe\t[virtio_net]\n";
        let symbols = Symbols::of(file(list.as_bytes())).unwrap();
        let base = 0xffff_ffff_8100_0000;
        let names = [0, 0xff, 0x100, 0x1ff, 0x350, 0x3f00_0010].map(|offset| base + offset);
        let named = symbols.names(&names).unwrap();
        let named: Vec<_> = named.iter().map(|name| name.as_deref().unwrap_or("-")).collect();
        let wanted =
            ["_text+0x0", "_text+0xff", "first+0x0", "first+0xff", "second+0x150", "probe+0x10"];
        assert_eq!(named, wanted);
        // An address of a program, and one in no known function.
        assert_eq!(symbols.names(&[0x40_1000, base + 0x2000_0000]).unwrap(), [None, None]);
    }

    #[test]
    fn an_elf_file_names_its_functions() {
        let symbols = Symbols::open(Path::new("/proc/self/exe")).unwrap();
        let elf = std::fs::read("/proc/self/exe").unwrap();
        let elf = object::File::parse(elf.as_slice()).unwrap();
        let this = elf
            .symbols()
            .find(|it| it.name().is_ok_and(|it| it.contains("an_elf_file_names_its_functions")));
        let this = this.unwrap();
        let named = symbols.names(&[this.address() + 1]).unwrap();
        let of_this = concat!(module_path!(), "::an_elf_file_names_its_functions");
        let named = named[0].as_deref().unwrap();
        assert!(named.starts_with(of_this) && named.ends_with("+0x1"), "{named}");
    }

    /// Both manglings of Rust, as a kernel built with CONFIG_RUST lists them. A name that resembles
    /// a mangled one, or that was cut off, is not changed.
    #[test]
    fn functions_of_rust_are_named_as_in_their_source() {
        for (listed, named) in [
            ("_RNvMs_NtCs3yuwAp0waWO_6kernel4sizeNtB4_4Path4open", "<kernel::size::Path>::open"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_ZN6kernel5print6printk17h0123456789abcdefE", "kernel::print::printk"),
            ("_ZN6kernel5print6printk17h0123456789abcdefE.llvm.42", "kernel::print::printk"),
            ("_RNvCs1234_7mycrate3f", "_RNvCs1234_7mycrate3f"),
            ("_Raw_spin_lock", "_Raw_spin_lock"),
            ("_ZN", "_ZN"),
        ] {
            let list = format!("ffffffff81000000 t {listed}\n");
            let symbols = Symbols::of(file(list.as_bytes())).unwrap();
            let found = symbols.names(&[0xffff_ffff_8100_0010]).unwrap();
            assert_eq!(found, [Some(format!("{named}+0x10"))]);
        }
    }

    #[test]
    fn a_file_without_functions_is_refused_in_one_line() {
        for (contents, reason) in [
            ("", "neither a vmlinux nor a System.map"),
            ("words and words\n", "neither"),
            ("ffffffffffffffff B The real System.map is in the linux-image-dbg package\n", "-dbg"),
            ("0000000000000000 T _text\n0000000000000000 t x\n", "only root"),
            ("\x7fELF", "as an ELF file"),
        ] {
            let error = format!("{:#}", Symbols::of(file(contents.as_bytes())).unwrap_err());
            assert!(error.contains(reason) && !error.contains('\n'), "{contents:?}: {error}");
        }
        let error = Symbols::open(Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
