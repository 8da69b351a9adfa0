//! One upstream PACS as the gateway's client sees it.

mod connections;
mod rows;
