//! Examples in languages whose compilers come from package registries: JavaScript, Python and Go.
//!
//! Each example's folder pins its compiler, which is installed below `target/`. A program is built
//! when a file of its folder is newer; where its compiler cannot be had, it is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::registries::{Changed, NPM, PYTHON, install_once, is_newer, npm_ci, python_environment};
use crate::skipped::{built, skip};
use crate::step::exec;
use crate::toolchain::{Program, ensure_programs, root};

/// One example, and how it becomes a program.
struct Language {
    /// The example's folder, and the program's name.
    name: &'static str,
    /// What its program is for.
    target: &'static str,
    /// The file of the folder that pins the compiler.
    pin: &'static str,
    /// What installs the compiler.
    needs: &'static [Program],
    /// Installs the compiler that the first folder pins into the second.
    install: fn(&Path, &Path) -> anyhow::Result<()>,
    /// What the compiler is told to say what it can do, by which it shows that it runs here.
    help: &'static str,
    /// The call that compiles: of the compiler in the first folder, with the sources in the
    /// folder where it is started, to the file.
    compile: fn(&Path, &Path) -> Command,
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "go",
        target: "wasm32-wasip1",
        pin: "requirements.txt",
        needs: &[PYTHON],
        install: python_packages,
        help: "help",
        compile: go,
    },
    Language {
        name: "javascript",
        target: "wasm32-wasip2",
        pin: "package-lock.json",
        needs: &[NPM],
        install: npm_ci,
        help: "--help",
        compile: javascript,
    },
    Language {
        name: "python",
        target: "wasm32-wasip2",
        pin: "requirements.txt",
        needs: &[PYTHON],
        install: python_packages,
        help: "--help",
        compile: python,
    },
];

/// Files of an example that its program is not made from.
const NOT_COMPILED: [&str; 3] = ["README.md", "expect.json", "pod.yaml"];

/// Builds every example that is not up to date.
pub(crate) fn build_all() -> anyhow::Result<()> {
    for language in &LANGUAGES {
        language
            .build()
            .with_context(|| format!("examples/{}", language.name))?;
    }
    Ok(())
}

// === impl Language ===

impl Language {
    fn build(&self) -> anyhow::Result<()> {
        let folder = root().join("examples").join(self.name);
        let program = self.program();
        let sources = sources(&folder)?;
        if is_newer(&program, sources.iter().map(PathBuf::as_path))? {
            println!("   {} is up to date", self.name);
            return built(&program);
        }
        let absent = ensure_programs(self.needs);
        if let Some(absent) = absent.first() {
            return skip(&program, &format!("there is no `{}` here", absent.name));
        }
        let compiler = root().join("target/languages").join(self.name);
        let install = || (self.install)(&folder, &compiler);
        match install_once(&compiler, &folder.join(self.pin), install) {
            Ok(()) => {}
            // Nobody is to take that for a machine that lacks something.
            Err(error) if error.is::<Changed>() => return Err(error),
            Err(error) => {
                return skip(&program, &format!("its compiler cannot be had: {error:#}"));
            }
        }
        let mut compile = (self.compile)(&compiler, &program);
        let mut help = Command::new(compile.get_program());
        help.arg(self.help)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Err(error) = exec(&mut help) {
            return skip(
                &program,
                &format!("its compiler does not run here: {error:#}"),
            );
        }
        if let Some(folder) = program.parent() {
            fs::create_dir_all(folder)?;
        }
        exec(compile.current_dir(&folder))?;
        built(&program)
    }

    /// Where the example's manifest expects it.
    fn program(&self) -> PathBuf {
        let folder = root().join("examples/target").join(self.target);
        folder.join("guest").join(self.name).with_extension("wasm")
    }
}

/// The files that a program is made from; examples have no folders in them.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_file() && !NOT_COMPILED.iter().any(|other| name == *other) {
            sources.push(path);
        }
    }
    Ok(sources)
}

fn python_packages(folder: &Path, into: &Path) -> anyhow::Result<()> {
    python_environment(&folder.join("requirements.txt"), into)
}

fn javascript(compiler: &Path, program: &Path) -> Command {
    let mut command = Command::new(compiler.join("node_modules/.bin/componentize-js"));
    command
        .args(["server.js", "--wit", "server.wit", "--world-name", "server"])
        .arg("--out")
        .arg(program);
    command
}

fn python(compiler: &Path, program: &Path) -> Command {
    let mut command = Command::new(compiler.join("bin/componentize-py"));
    command
        .args(["--quiet", "--wit-path", "command.wit", "--world", "command"])
        .args(["componentize", "pages", "--output"])
        .arg(program)
        // Where the packages lie that the program imports.
        .env("VIRTUAL_ENV", compiler)
        // The folder of the sources stays as it is.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn go(compiler: &Path, program: &Path) -> Command {
    let mut command = Command::new(compiler.join("bin/go"));
    command
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(program)
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
        // This compiler and no other, and nothing from elsewhere.
        .envs([("GOTOOLCHAIN", "local"), ("GOPROXY", "off")])
        .env("GOCACHE", compiler.join("cache"))
        .env("GOPATH", compiler.join("path"));
    command
}
