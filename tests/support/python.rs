//! Servers by other authors: Python programs in the folder that `KERB_STREAM_SHARED` names.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use kerb_stream::GenerationConfig;

use super::{config, shared, tls};

/// A running server. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct PythonServer {
    process: Child,
    /// The line that the server printed when it began to listen: its port, or details about it.
    pub(crate) line: String,
    folder: PathBuf,
}

impl PythonServer {
    /// Starts a program in its own folder, with a certificate for 127.0.0.1.
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("kerb-stream-python-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        tls::write_pem(&folder).unwrap();
        let mut command = Command::new("python3");
        command.arg(shared(program)).args(arguments).current_dir(&folder);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, line, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the server's port. The server must print nothing else.
    pub(crate) fn port(&self) -> u16 {
        self.line.trim().parse().unwrap()
    }

    /// Returns a configuration for the server. `scheme` is `http` or `https`.
    pub(crate) fn config(&self, scheme: &str) -> GenerationConfig {
        let url = format!("{scheme}://127.0.0.1:{}/v1", self.port());
        config(url).ca_file(self.folder.join("ca.pem"))
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
