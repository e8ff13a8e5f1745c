//! A site that the webhook calls, and a proxy before NATS that can be cut.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::post};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
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

/// A connection between a node and NATS that can be cut.
pub(crate) struct Proxy {
    pub(crate) url: String,
    is_open: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(nats: &str) -> Self {
        let target = nats.strip_prefix("nats://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (is_open, watched) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut is_open = watched.clone();
                if !*is_open.borrow() {
                    continue;
                }
                let target = target.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = is_open.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { url, is_open }
    }

    /// Ends the connections, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn heal(&self) {
        self.is_open.send_replace(true);
    }
}
