//! What the role's metrics mean. They are counted where the things happen.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Tells the recorder; once, at the role's start.
pub fn describe() {
    describe_counter!("estafeta_edge_received_total", "Messages received whole, by service");
    describe_counter!("estafeta_edge_accepted_total", "Messages answered 250, by service");
    describe_counter!("estafeta_edge_refused_total", "Commands and messages refused, by reason");
    describe_counter!("estafeta_edge_unjudged_total", "Messages accepted without a verdict");
    describe_counter!(
        "estafeta_edge_delivered_total",
        "Recipients delivered, to a mailbox of ours or to another server"
    );
    describe_counter!("estafeta_edge_queued_total", "Recipients queued at the end of a transaction");
    describe_counter!("estafeta_edge_own_messages_total", "Messages of the cluster's own that were queued");
    describe_counter!("estafeta_edge_bounced_total", "Recipients reported to the sender, as failed or as delayed");
    describe_counter!("estafeta_edge_undeliverable_reports_total", "Failures of messages that have no sender to tell");
    describe_counter!(
        "estafeta_edge_tls_fallbacks_total",
        "Connections to servers whose TLS failed, tried in the clear"
    );
    describe_gauge!("estafeta_edge_queue_messages", "Messages that wait in this node's queue");
    describe_histogram!("estafeta_edge_judge_seconds", "How long a verdict took");
    describe_histogram!("estafeta_edge_deliver_seconds", "How long delivery inside the transaction took");
    describe_histogram!("estafeta_edge_transaction_seconds", "From the last byte of a message to its answer");
    describe_histogram!(
        "estafeta_edge_delay_seconds",
        "From a message's arrival to its delivery, to a mailbox or a server"
    );
}
