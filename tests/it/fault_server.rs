//! The table of faults, acted out by somebody else: the fault server in the folder that
//! `KERB_STREAM_SHARED` names. It speaks three of the protocols.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use kerb_stream::{ErrorKind, GenerationConfig, Protocol, Proxy};
use serde_json::Value;

use crate::support::faults::{Case, cases, see};
use crate::support::{python, watchdog};

const WATCHDOG: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 24;

/// What it does otherwise than the servers of `faults.rs`.
const OTHERWISE: &[(&str, &str, Otherwise)] = &[
    // Its error is a `server_error`, which is tried again.
    ("F32", "chat_completions", Otherwise::Kind(ErrorKind::Server, 3)),
    ("F32", "messages", Otherwise::Kind(ErrorKind::Server, 3)),
    ("F73", "chat_completions", Otherwise::Kind(ErrorKind::Server, 1)),
    ("F73", "messages", Otherwise::Kind(ErrorKind::Overloaded, 1)),
    // It speaks of bills whatever the status, where errors have a type.
    ("F104", "chat_completions", Otherwise::Kind(ErrorKind::Quota, 1)),
    ("F104", "messages", Otherwise::Kind(ErrorKind::Quota, 1)),
    // Its Gemini calls everything an invalid argument, and that says more than the status.
    ("F94", "generate_content", Otherwise::Kind(ErrorKind::InvalidRequest, 1)),
    ("F99", "generate_content", Otherwise::Kind(ErrorKind::InvalidRequest, 1)),
    // Its call has no name.
    ("F144", "chat_completions", Otherwise::Kind(ErrorKind::Incomplete, 1)),
    // It closes the connection before it reads the second request.
    ("F60", "", Otherwise::Requests(2)),
    // What comes in one packet with a fault of the framing is lost with it, and then asked for again.
    ("F47", "", Otherwise::OnlyKind),
    ("F48", "", Otherwise::OnlyKind),
    ("F53", "", Otherwise::OnlyKind),
    // Gemini has no end marker: what may follow the finish reason is waited for.
    ("F74", "generate_content", Otherwise::Takes(12)),
    // Its second answer comes for itself, and so perhaps after the next request, whose it then seems.
    ("F61", "", Otherwise::Not),
    // It puts text into each of its hundred thousand events.
    ("F116", "", Otherwise::Not),
];

#[derive(Debug, Clone, Copy)]
enum Otherwise {
    Kind(ErrorKind, usize),
    Requests(usize),
    OnlyKind,
    /// At most so many seconds.
    Takes(u64),
    Not,
}

impl Otherwise {
    fn of(case: &Case, protocol: Protocol) -> Option<Self> {
        let fits = |(id, on, _): &&(&str, &str, Self)| {
            *id == case.id && (on.is_empty() || *on == protocol.as_str())
        };
        OTHERWISE.iter().find(fits).map(|(_, _, otherwise)| *otherwise)
    }
}

#[test]
#[ignore = "needs python3, openssl and $KERB_STREAM_SHARED/faults"]
fn every_fault_is_what_the_table_says() {
    let server = Arc::new(FaultServer::start());
    let only = std::env::var("KERB_STREAM_FAULT").ok();
    let acts: Vec<(Case, Protocol)> = cases()
        .into_iter()
        .filter(|case| only.as_deref().is_none_or(|only| case.id == only))
        // Not a server's doing; and variants that it does not have.
        .filter(|case| case.id < "F150" || case.id.len() < 4)
        .filter(|case| case.id != "F02")
        .filter(|case| {
            let has_one =
                matches!(case.id, "F15" | "F49" | "F50" | "F61" | "F71" | "F128" | "F148");
            !(has_one && case.option("v").is_some())
        })
        .flat_map(|case| case.protocols.iter().map(move |&protocol| (case.clone(), protocol)))
        .filter(|(_, protocol)| !matches!(protocol, Protocol::Responses | Protocol::CohereChat))
        .filter(|(case, protocol)| !matches!(Otherwise::of(case, *protocol), Some(Otherwise::Not)))
        .collect();
    let count = acts.len();
    assert!(count > 0, "there is no fault {only:?}");
    for (id, on, _) in OTHERWISE {
        let is_known = |case: &Case| {
            case.id == *id && case.protocols.iter().any(|p| on.is_empty() || p.as_str() == *on)
        };
        assert!(cases().iter().any(is_known), "nothing is otherwise with {id} {on}");
    }
    let acts = Arc::new(Mutex::new(acts.into_iter().enumerate()));
    let (report, reports) = mpsc::channel();
    for _ in 0..AT_ONCE {
        let (acts, report, server) = (Arc::clone(&acts), report.clone(), Arc::clone(&server));
        thread::spawn(move || {
            loop {
                let Some((number, (case, protocol))) = acts.lock().unwrap().next() else {
                    return;
                };
                let name = format!("{} {:?} {protocol}", case.id, case.options);
                let server = Arc::clone(&server);
                let act = move || server.play(case, protocol, number);
                let result = std::panic::catch_unwind(|| watchdog(WATCHDOG, act));
                report
                    .send((name, result.unwrap_or_else(|_| vec!["it panics".to_owned()])))
                    .unwrap();
            }
        });
    }
    drop(report);
    let reports: Vec<_> = reports.iter().collect();
    server.stop();
    assert_eq!(reports.len(), count, "a case is reported once");
    let failures: BTreeMap<_, _> =
        reports.into_iter().filter(|(_, differences)| !differences.is_empty()).collect();
    println!("{count} faults");
    assert!(failures.is_empty(), "{} of {count}: {failures:#?}", failures.len());
}

struct FaultServer {
    process: Mutex<Child>,
    ports: Value,
}

impl FaultServer {
    fn start() -> Self {
        let certificates =
            std::env::temp_dir().join(format!("kerb-stream-faults-{}", std::process::id()));
        let (process, line) = python("faults/faultserver.py", |command| {
            command.args(["--port", "0", "--tls", "--tls-dir"]).arg(certificates)
        });
        let ports = serde_json::from_str(&line).unwrap();
        Self { process: Mutex::new(process), ports }
    }

    /// Said aloud, since threads that share it may outlive the test.
    fn stop(&self) {
        let mut process = self.process.lock().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }

    fn port(&self, name: &str) -> u64 {
        self.ports[name].as_u64().unwrap_or_else(|| panic!("there is no port {name}"))
    }

    fn play(&self, mut case: Case, protocol: Protocol, number: usize) -> Vec<String> {
        // A name of its own, for its counters and for the log.
        let path = format!("{},k=case{number}", case.path());
        let (port, scheme) = match (case.id, case.options) {
            ("F01", _) => ("refused", "http"),
            ("F03", _) => ("blackhole", "http"),
            ("F06", _) => ("accept_hang", "http"),
            ("F08", _) => ("tls_selfsigned", "https"),
            ("F09", _) => ("tls_expired", "https"),
            ("F10", _) => ("tls_wronghost", "https"),
            ("F11", _) => ("tls_plain", "https"),
            ("F12", _) => ("tls_stall", "https"),
            ("F13" | "F43", _) => ("tls_good", "https"),
            _ => ("main", "http"),
        };
        let proxy = match (case.id, case.options) {
            ("F15", "status=407") => Some("proxy_407"),
            ("F15", _) => Some("proxy_403"),
            ("F16", "v=hang") => Some("proxy_hang"),
            ("F16", _) => Some("proxy_close"),
            _ => None,
        };
        let mut config =
            case.config(protocol, format!("{scheme}://127.0.0.1:{}{path}/v1", self.port(port)));
        if scheme == "https" {
            config = config.ca_file(self.ports["tls_ca"].as_str().unwrap());
        }
        if let Some(proxy) = proxy {
            let url = format!("http://127.0.0.1:{}", self.port(proxy));
            config = config.base_url("https://192.0.2.1/v1").proxy(Proxy::Url(url));
        }
        if !matches!(case.id, "F60" | "F61") {
            // A connection that another fault has left would be one more.
            config = config.header("connection", "close");
        }
        let prompt = match case.id {
            "F06" | "F62" => "x".repeat(30 << 20),
            _ => "Hello?".to_owned(),
        };
        let look = |config: &GenerationConfig| see(config.clone(), &prompt, || {});
        let mut seen = look(&config);
        if matches!(case.id, "F60" | "F61") {
            seen = look(&config);
        }

        let mut requests = match (port, proxy) {
            ("main", None) => self.requests(&format!("k=case{number}/")),
            _ => case.requests,
        };
        match Otherwise::of(&case, protocol) {
            Some(Otherwise::Kind(kind, number)) => {
                case.error = Some((kind, ""));
                case.requests = number;
            }
            Some(Otherwise::Requests(number)) => case.requests = number,
            Some(Otherwise::Takes(seconds)) => case.at_most = Duration::from_secs(seconds),
            Some(Otherwise::OnlyKind) => {
                requests = case.requests;
                case.text = if case.text.starts_with(&seen.text) { "" } else { case.text };
                seen.text.clear();
                seen.response.content.clear();
            }
            Some(Otherwise::Not) | None => {}
        }
        // Its words are its own.
        case.error = case.error.map(|(kind, _)| (kind, ""));
        case.differences(&seen, requests)
    }

    /// How many requests had this in their paths.
    fn requests(&self, part: &str) -> usize {
        let stream = TcpStream::connect(("127.0.0.1", self.port("main") as u16)).unwrap();
        (&stream).write_all(b"GET /_/log HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = BufReader::new(&stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).unwrap();
            match line.trim_end().to_ascii_lowercase().strip_prefix("content-length: ") {
                Some(text) => length = text.parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut log = vec![0; length];
        answer.read_exact(&mut log).unwrap();
        let log = String::from_utf8_lossy(&log);
        let paths = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        paths.filter(|entry| entry["path"].as_str().is_some_and(|path| path.contains(part))).count()
    }
}
