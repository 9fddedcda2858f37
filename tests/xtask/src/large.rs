//! Large programs that were not written here: what people really run, from package registries.
//!
//! The tests run them as their users would. Each lies in `target/large` in the version named here,
//! made of sources that are held against the hashes named here, and is made once; what cannot be had
//! on this machine is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::guests::C_COMPILER;
use crate::registries::{
    Changed, Crate, NPM, Package, cargo_install, cargo_vendor, install_once, is_newer, npm_pack,
};
use crate::skipped::{built, skip};
use crate::step::exec;
use crate::toolchain::{Program, ensure_programs, root};

/// A program of a registry.
struct Large {
    /// Its name: it is made in `target/large/NAME`, and comes to lie there as `NAME.wasm`.
    name: &'static str,
    /// What makes it.
    needs: &'static [&'static [Program]],
    /// Makes it: the folder, and the program's file.
    make: fn(&Path, &Path) -> anyhow::Result<()>,
}

const PROGRAMS: [Large; 3] = [
    // A jq in Rust.
    Large {
        name: "jaq",
        needs: &[],
        make: jaq,
    },
    // An interpreter of JavaScript, in C.
    Large {
        name: "qjs",
        needs: &[&C_COMPILER],
        make: quickjs,
    },
    // The shell of SQLite, in C.
    Large {
        name: "sqlite3",
        needs: &[&C_COMPILER, &[NPM]],
        make: sqlite,
    },
];

/// jaq. Its lock file, which is part of the package, has the checksums of all that it needs.
const JAQ: Crate = Crate {
    name: "jaq",
    version: "2.2.0",
    sha256: "8b9e1369080a96f5d9ba3eee98e3aee42be3e2594b23c9deccee1d53afdfeea9",
};

/// The package that carries the sources of QuickJS.
const QUICKJS: Crate = Crate {
    name: "rquickjs-sys",
    version: "0.12.2",
    sha256: "a13ac243b86a74120814ef7e9e30ad5a2c1199b7b9963b1cf7c84e4cdc1cad99",
};

const QUICKJS_SOURCES: [&str; 8] = [
    "qjs.c",
    "quickjs.c",
    "quickjs-libc.c",
    "libregexp.c",
    "libunicode.c",
    "dtoa.c",
    "gen/repl.c",
    "gen/standalone.c",
];

/// The npm package that carries the sources of SQLite with its shell.
const SQLITE: Package = Package {
    name: "sqlite3",
    version: "6.0.1",
    sha512: "5f4733514306dad992a89a4441aded0ae6521ca231f0fc0ce77bcb6732a9fe8e\
             91a72db97e255f8dd6e767df3c33cf8edd9591d628742b6e7956e9826f73009d",
};

/// What the shell is built with: no threads and no processes, which WASI does not have, and what
/// is left of signals and clocks; full-text search and mathematics are in it as in Debian's.
const SQLITE_OPTIONS: [&str; 12] = [
    "--target=wasm32-wasi",
    "-O2",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_GETPID",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-D_WASI_EMULATED_MMAN",
    "-DSQLITE_THREADSAFE=0",
    "-DSQLITE_NOHAVE_SYSTEM",
    "-DSQLITE_ENABLE_FTS5",
    "-DSQLITE_ENABLE_MATH_FUNCTIONS",
    // Two functions that the shell calls and WASI's C library does not have.
    "-Dchmod(path,mode)=0",
    "-Drealpath(path,into)=(char*)0",
];

const SQLITE_LIBRARIES: [&str; 4] = [
    "-lwasi-emulated-signal",
    "-lwasi-emulated-getpid",
    "-lwasi-emulated-process-clocks",
    "-lwasi-emulated-mman",
];

/// The file of the tree that pins these versions: this one.
const PIN: &str = "tests/xtask/src/large.rs";

/// Has every program made.
pub(crate) fn build_all() -> anyhow::Result<()> {
    for large in &PROGRAMS {
        large.build().with_context(|| large.name.to_owned())?;
    }
    Ok(())
}

// === impl Large ===

impl Large {
    fn build(&self) -> anyhow::Result<()> {
        // Where the tests look, wherever cargo puts what it builds.
        let folder = root().join("target/large").join(self.name);
        let program = folder.join(self.name).with_extension("wasm");
        let pin = root().join(PIN);
        if is_newer(&program, [pin.as_path()])? {
            return built(&program);
        }
        for needed in self.needs {
            if let Some(absent) = ensure_programs(needed).first() {
                return skip(&program, &format!("there is no `{}` here", absent.name));
            }
        }
        let make = || (self.make)(&folder, &program);
        match install_once(&folder, &pin, make) {
            Ok(()) => built(&program),
            // Nobody is to take that for a machine that lacks something.
            Err(error) if error.is::<Changed>() => Err(error),
            Err(error) => skip(&program, &format!("it cannot be made here: {error:#}")),
        }
    }
}

/// As `cargo install` makes it, without its allocator, which is C; later versions have a line editor
/// that knows no WASI. Of preview 1, which passes exit codes on.
fn jaq(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let sources = cargo_vendor(&JAQ, folder)?;
    let options = ["--no-default-features", "--target", "wasm32-wasip1"];
    cargo_install(&sources, folder, &options)?;
    fs::rename(folder.join("bin/jaq.wasm"), program)?;
    Ok(())
}

/// QuickJS with its own command line, from the sources that a package of cargo's registry carries.
fn quickjs(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let package = cargo_vendor(&QUICKJS, folder)?;
    let mut clang = Command::new("clang");
    clang
        .args([
            "--target=wasm32-wasi",
            "-O2",
            "-w",
            "-D_GNU_SOURCE",
            "-DQUICKJS_NG_BUILD",
        ])
        .args(["-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_PROCESS_CLOCKS"])
        // What it believes to have.
        .arg("-Wl,-z,stack-size=8388608")
        .arg("-o")
        .arg(program)
        .args(QUICKJS_SOURCES)
        .args(["-lwasi-emulated-signal", "-lwasi-emulated-process-clocks"])
        .current_dir(package.join("quickjs"));
    exec(&mut clang)
}

/// SQLite's own shell, from the sources that a package of npm carries.
fn sqlite(folder: &Path, program: &Path) -> anyhow::Result<()> {
    unpack(&npm_pack(&SQLITE, folder)?, folder)?;
    unpack(
        &only(&folder.join("package/deps"), "sqlite-autoconf-")?,
        folder,
    )?;
    let sources = only(folder, "sqlite-autoconf-")?;
    let mut clang = Command::new("clang");
    clang
        .args(SQLITE_OPTIONS)
        .args(["-Wno-implicit-function-declaration", "-o"])
        .arg(program)
        .args(["shell.c", "sqlite3.c"])
        .args(SQLITE_LIBRARIES)
        .current_dir(sources);
    exec(&mut clang)
}

fn unpack(archive: &Path, into: &Path) -> anyhow::Result<()> {
    exec(
        Command::new("tar")
            .args(["--extract", "--no-same-owner", "--file"])
            .arg(archive)
            .current_dir(into),
    )
}

/// The one thing in a folder whose name begins so.
fn only(folder: &Path, beginning: &str) -> anyhow::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("nothing in {} begins with {beginning}", folder.display())
}
