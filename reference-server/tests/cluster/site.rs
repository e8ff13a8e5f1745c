//! A site that the webhook calls, and a proxy before NATS that can be cut or slow.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

/// The events that a site was sent.
#[derive(Clone, Default)]
pub(crate) struct Site(Arc<Mutex<Vec<Value>>>);

impl Site {
    /// Starts the site. Also returns its address.
    pub(crate) async fn start() -> (Self, String) {
        let site = Self::default();
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(site.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (site, url)
    }

    /// Returns what the events of a type were about: the values of a field, in the order they came.
    pub(crate) fn of(&self, kind: &str, field: &str) -> Vec<Value> {
        let events = self.0.lock();
        let of_kind = events.iter().filter(|event| event["type"] == kind);
        of_kind.map(|event| event["data"][field].clone()).collect()
    }
}

async fn receive(State(site): State<Site>, Json(body): Json<Value>) {
    let events = body["events"].as_array().unwrap().clone();
    site.0.lock().extend(events);
}

/// The bytes that a slow connection passes at once, and the pause before them.
const PIECE: usize = 1_024;
const PAUSE: Duration = Duration::from_millis(50);

/// The way in which a proxy passes bytes on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Passing {
    Freely,
    /// A piece after each pause, in both directions.
    Slowly,
    Never,
}

/// A connection between a node and NATS that can be cut, or slow.
pub(crate) struct Proxy {
    pub(crate) url: String,
    passing: watch::Sender<Passing>,
    slow_pieces: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(nats: &str) -> Self {
        Self::start_with(nats, None).await
    }

    /// Starts a proxy that is cut when its first client is about to send this text.
    pub(crate) async fn start_cut_before(nats: &str, text: &'static str) -> Self {
        Self::start_with(nats, Some(text)).await
    }

    async fn start_with(nats: &str, mut cut_before: Option<&'static str>) -> Self {
        let target = nats.strip_prefix("nats://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (passing, watched) = watch::channel(Passing::Freely);
        let slow_pieces = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&slow_pieces);
        let cutter = passing.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *watched.borrow() == Passing::Never {
                    continue;
                }
                let passage = Passage {
                    passing: watched.clone(),
                    cutter: cutter.clone(),
                    slow_pieces: Arc::clone(&counted),
                };
                let target = target.clone();
                let cut_before = cut_before.take();
                tokio::spawn(async move {
                    let server = TcpStream::connect(target).await.unwrap();
                    passage.join(client, server, cut_before).await;
                });
            }
        });
        Self {
            url,
            passing,
            slow_pieces,
        }
    }

    /// Ends the connections, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.passing.send_replace(Passing::Never);
    }

    /// Passes a few bytes at a time, late.
    pub(crate) fn slow_down(&self) {
        self.passing.send_replace(Passing::Slowly);
    }

    /// Returns whether nothing is passed on.
    pub(crate) fn is_cut(&self) -> bool {
        *self.passing.borrow() == Passing::Never
    }

    pub(crate) fn heal(&self) {
        self.passing.send_replace(Passing::Freely);
    }

    /// Returns the number of pieces that were passed slowly.
    pub(crate) fn slow_pieces(&self) -> usize {
        self.slow_pieces.load(Ordering::Relaxed)
    }
}

/// The rules for one connection through a proxy.
#[derive(Clone)]
struct Passage {
    passing: watch::Receiver<Passing>,
    cutter: watch::Sender<Passing>,
    slow_pieces: Arc<AtomicUsize>,
}

impl Passage {
    /// Passes bytes in both directions, until one end closes or the proxy is cut.
    async fn join(mut self, client: TcpStream, server: TcpStream, cut_before: Option<&str>) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let forth = self.clone().pass(from_client, to_server, cut_before);
        let back = self.clone().pass(from_server, to_client, None);
        tokio::select! {
            _ = forth => {}
            _ = back => {}
            _ = self.passing.wait_for(|passing| *passing == Passing::Never) => {}
        }
    }

    async fn pass(
        self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        cut_before: Option<&str>,
    ) -> io::Result<()> {
        let mut piece = [0; PIECE];
        let mut said = String::new();
        loop {
            let size = from.read(&mut piece).await?;
            if size == 0 {
                return Ok(());
            }
            if let Some(text) = cut_before {
                said += &String::from_utf8_lossy(&piece[..size]);
                if said.contains(text) {
                    self.cutter.send_replace(Passing::Never);
                    return Ok(());
                }
            }
            let passing = *self.passing.borrow();
            if passing == Passing::Slowly {
                sleep(PAUSE).await;
                self.slow_pieces.fetch_add(1, Ordering::Relaxed);
            }
            to.write_all(&piece[..size]).await?;
        }
    }
}
