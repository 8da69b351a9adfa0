use futures_util::FutureExt;

use super::*;

fn queue(max_calls: usize, max_waiting: usize) -> CallQueue {
    let limits = ClassLimits { max_calls, max_waiting };
    CallQueue::new(ArchiveId::parse("main").unwrap(), limits, limits, limits)
}

/// Returns the permit of the call if it has been granted.
fn granted_permit(call: &mut QueuedCall) -> Option<CallPermit> {
    call.permit().now_or_never().map(Result::unwrap)
}

/// Joins the queue with a call that must get a permit at once.
fn start_call(queue: &CallQueue, class: RequestClass, priority: &RequestPriority) -> CallPermit {
    granted_permit(&mut queue.join(class, priority).unwrap()).unwrap()
}

#[test]
fn requests_beyond_the_length_of_the_queue_are_rejected_at_once() {
    let queue = queue(1, 2);
    let [first, second, third, fourth] = std::array::from_fn(|_| RequestPriority::of_new_request());
    let permit = start_call(&queue, RequestClass::Search, &first);
    let mut waiting: Vec<_> =
        [&second, &third].map(|request| queue.join(RequestClass::Search, request).unwrap()).into();
    assert_eq!(queue.join(RequestClass::Search, &fourth).unwrap_err(), NoPermit::QueueFull);
    let further = queue.join(RequestClass::Search, &second);
    assert!(further.is_ok(), "the limit applies to requests, not to their calls");
    assert!(queue.join(RequestClass::Search, &first).is_ok(), "a started request is not rejected");
    drop(further);
    drop(permit);
    let permit = granted_permit(&mut waiting[0]).unwrap();
    assert!(queue.join(RequestClass::Search, &fourth).is_ok(), "a place is free");
    drop(permit);
    assert!(granted_permit(&mut waiting[1]).is_some());
}

#[test]
fn calls_of_started_requests_precede_those_of_new_requests() {
    let queue = queue(1, 10);
    let started = RequestPriority::of_new_request();
    let new = RequestPriority::of_new_request();
    let newest = RequestPriority::of_new_request();
    let permit = start_call(&queue, RequestClass::Search, &newest);
    let mut calls =
        [&new, &started, &newest].map(|request| queue.join(RequestClass::Search, request).unwrap());
    drop(permit);
    let order: Vec<_> = (0..3)
        .map(|_| {
            let next = calls.iter_mut().position(|call| granted_permit(call).is_some());
            next.unwrap()
        })
        .collect();
    assert_eq!(order, [2, 1, 0], "the started request, and then the others in the order of arrival");
}

#[test]
fn a_request_with_a_quarter_of_the_permits_leaves_the_next_one_to_others() {
    let queue = queue(8, 10);
    let (large, small) = (RequestPriority::of_new_request(), RequestPriority::of_new_request());
    let mut permits: Vec<_> = (0..8).map(|_| start_call(&queue, RequestClass::Search, &large)).collect();
    let mut further = queue.join(RequestClass::Search, &large).unwrap();
    let mut first = queue.join(RequestClass::Search, &small).unwrap();
    permits.pop();
    assert!(granted_permit(&mut further).is_none());
    let small_permit = granted_permit(&mut first).unwrap();
    permits.pop();
    assert!(granted_permit(&mut further).is_some(), "no other request waits");
    drop(small_permit);
}

#[test]
fn abandoned_work_continues_only_while_no_other_call_waits() {
    let queue = queue(1, 10);
    let (work, request) = (RequestPriority::of_shared_work(), RequestPriority::of_new_request());
    let waiter = work.add_waiter(&request);
    let mut permit = start_call(&queue, RequestClass::Search, &work);
    drop(waiter);
    permit = {
        drop(permit);
        start_call(&queue, RequestClass::Search, &work)
    };
    let mut other = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    let mut abandoned = queue.join(RequestClass::Search, &work).unwrap();
    assert_eq!(abandoned.permit().now_or_never().unwrap().unwrap_err(), NoPermit::Abandoned);
    drop(permit);
    assert!(granted_permit(&mut other).is_some());
}

#[test]
fn work_that_is_abandoned_while_it_waits_loses_its_place() {
    let queue = queue(1, 1);
    let (work, request) = (RequestPriority::of_shared_work(), RequestPriority::of_new_request());
    let permit = start_call(&queue, RequestClass::Search, &RequestPriority::of_new_request());
    let waiter = work.add_waiter(&request);
    let mut call = queue.join(RequestClass::Search, &work).unwrap();
    drop(waiter);
    let mut next = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    assert_eq!(call.permit().now_or_never().unwrap().unwrap_err(), NoPermit::Abandoned);
    drop(permit);
    assert!(granted_permit(&mut next).is_some());
}

/// Whether the call must be aborted.
fn is_revoked(permit: &mut CallPermit) -> bool {
    std::future::poll_fn(|context| permit.poll_revoked(context)).now_or_never().is_some()
}

#[test]
fn abandoned_calls_in_flight_lose_their_permits_to_calls_that_wait() {
    let queue = queue(2, 10);
    let (work, request) = (RequestPriority::of_shared_work(), RequestPriority::of_new_request());
    let waiter = work.add_waiter(&request);
    let mut abandoned: Vec<_> = (0..2).map(|_| start_call(&queue, RequestClass::Search, &work)).collect();
    let mut first = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    assert!(!abandoned.iter_mut().any(is_revoked), "a client waits");
    drop(waiter);
    let mut count_revoked = || abandoned.iter_mut().map(is_revoked).filter(|revoked| *revoked).count();
    assert_eq!(count_revoked(), 1, "one call waits");
    let mut second = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    assert_eq!(count_revoked(), 2);
    assert!(granted_permit(&mut first).is_none(), "the permits are not yet released");
    drop(abandoned);
    assert!(granted_permit(&mut first).is_some() && granted_permit(&mut second).is_some());
}

#[test]
fn a_canceled_call_passes_its_permit_on() {
    let queue = queue(1, 10);
    let [first, second, third] = std::array::from_fn(|_| RequestPriority::of_new_request());
    let permit = start_call(&queue, RequestClass::Search, &first);
    let canceled = queue.join(RequestClass::Search, &second).unwrap();
    let mut last = queue.join(RequestClass::Search, &third).unwrap();
    drop(permit);
    assert!(granted_permit(&mut last).is_none(), "the second call has the permit");
    drop(canceled);
    assert!(granted_permit(&mut last).is_some());
}

#[test]
fn new_requests_do_not_start_while_started_requests_wait_for_the_other_class() {
    let queue = queue(1, 10);
    let [first, second, new, retrieval] = std::array::from_fn(|_| RequestPriority::of_new_request());
    for request in [&first, &second] {
        drop(start_call(&queue, RequestClass::Search, request));
    }
    let permit = start_call(&queue, RequestClass::Metadata, &first);
    let mut bottleneck = queue.join(RequestClass::Metadata, &second).unwrap();
    let mut search = queue.join(RequestClass::Search, &new).unwrap();
    assert!(granted_permit(&mut search).is_none());
    assert!(granted_permit(&mut queue.join(RequestClass::Retrieve, &retrieval).unwrap()).is_some());
    drop(permit);
    assert!(granted_permit(&mut bottleneck).is_some());
    assert!(granted_permit(&mut search).is_some());
}
