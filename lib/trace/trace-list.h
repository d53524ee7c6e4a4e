/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All trace points: POINT(name, meaning, (type, field), ...). A point stands under the file that has
 * it; scripts/check-trace compares this list with the sources, the manual and the built library.
 *
 * Names are QEMU's where the event is the same. Values are what the place has at hand: an argument
 * that had to be computed would cost something when nobody looks. Times are in us.
 */
#ifndef LIB_TRACE_TRACE_LIST_H
#define LIB_TRACE_TRACE_LIST_H

/* clang-format off */
#define TRACE_LIST(POINT) \
    /* lib/migration/run.c */ \
    POINT(migrate_error, "the first error of a run, which ends it", \
        (str, side), (str, stage), (str, device), (str, reason), (str, text)) \
    POINT(migration_stage, "a stage begins", (str, side), (str, stage), (u64, transferred_bytes)) \
    /* lib/migration/status.c */ \
    POINT(migrate_set_state, "a migration has a new status", (str, side), (str, new_state)) \
    /* lib/migration/run-state.c */ \
    POINT(runstate_set, "a VM has a new run state", (str, current_state), (str, new_state)) \
    /* lib/migration/blockers.c */ \
    POINT(migrate_blocked, "what stands in the way of a migration refuses it", \
        (str, device), (str, reason)) \
    POINT(migrate_add_blocker, "the host put something in the way, or tried to", \
        (str, device), (str, code), (i32, ret)) \
    POINT(migrate_del_blocker, "the host took it away", (str, device), (str, code)) \
    /* lib/migration/capabilities.c */ \
    POINT(migrate_set_capability, "a capability was set", (str, name), (flag, on)) \
    /* lib/migration/parameters.c */ \
    POINT(migrate_set_parameter, "a parameter was set, or not", (str, name), (u64, value), (i32, ret)) \
    /* lib/monitor/dispatch.c */ \
    POINT(handle_qmp_command, "a client of the monitor asked for something", (str, name)) \
    POINT(monitor_qmp_respond, "it is answered; error is empty where it was done", \
        (str, name), (str, error)) \
    /* lib/monitor/events.c */ \
    POINT(monitor_qapi_event_emit, "clients of the monitor are told of an event", (str, event)) \
    /* lib/migration/source.c */ \
    POINT(migration_set_outgoing_channel, "the source is connected", \
        (flag, one_way), (u32, data_channels)) \
    POINT(migrate_pending_exact, "all were asked what they have left", \
        (u32, round), (u64, remaining_bytes)) \
    POINT(migration_round_start, "a pre-copy round begins", (u32, round)) \
    POINT(migration_round_end, "it is over, loaded at the target as well", \
        (u32, round), (u64, bytes), (u64, us)) \
    POINT(migration_workload_stop, "the host is to stop the workload: the pause begins", (u32, round)) \
    /* lib/migration/convergence.c */ \
    POINT(migration_switchover_decision, "go on, switch or give up, from the predicted pause", \
        (str, verdict), (u64, limit_us), (u64, predicted_us), (u64, doubt_us), (u64, quiesce_us), \
        (u64, stop_us), (u64, data_us), (u64, load_us), (u64, handover_us), (u64, start_us), \
        (u64, data_bytes)) \
    /* lib/migration/aftermath.c */ \
    POINT(migration_pause_end, "the pause is over, and what it was", \
        (u64, us), (u64, predicted_us), (u64, data_bytes)) \
    /* lib/migration/notice.c */ \
    POINT(migration_quiesce_notice, "the host is told that the workload will stop; 0: called off", \
        (u32, lead_ms)) \
    /* lib/migration/cancel.c */ \
    POINT(migration_cancel, "somebody cancelled, and it is heeded", (flag, too_late)) \
    /* lib/migration/announce.c */ \
    POINT(migration_initial_sent, "a device's initial bytes were all sent", \
        (str, device), (u32, number)) \
    POINT(loadvm_approve_switchover, "target: they are loaded, and that is told", \
        (str, device), (u32, number)) \
    /* lib/migration/handover.c */ \
    POINT(migration_handover, "who owns what changes", (str, side), (str, new_state)) \
    POINT(migration_handover_say, "READY, LOADED, GO or RUNNING is said", (str, side), (str, message)) \
    POINT(migration_handover_hear, "target: GO or ABORT was heard, or neither: a negative ret", \
        (i32, ret)) \
    POINT(migration_resolve, "an unresolved hand-over is to be settled", (str, side), (flag, run)) \
    /* lib/migration/return-path.c */ \
    POINT(source_return_path_thread_handover, "READY, LOADED, RUNNING or FAILED was heard", \
        (str, message)) \
    POINT(source_return_path_thread_switchover_acked, \
        "the target has loaded initial bytes; device is empty where it tells of all at once", \
        (str, device), (u32, number)) \
    POINT(source_return_path_thread_end, "the source does not listen to the target any more", (i32, ret)) \
    /* lib/migration/lanes.c */ \
    POINT(multifd_new_send_channel_async, "source: a data channel is connected", (u32, id)) \
    POINT(multifd_recv_new_channel, "target: a data channel has come", (u32, id)) \
    /* lib/migration/recovery.c */ \
    POINT(migration_recover, "devices go back to where a failure in that stage leaves them", \
        (str, side), (str, stage)) \
    POINT(migration_recovered, "they are there, or one was reset or is lost", (str, side), (str, worst)) \
    /* lib/migration/crew.c */ \
    POINT(migration_step_start, "a participant begins a step", (str, id), (str, step)) \
    POINT(migration_step_end, "it has done it", (str, id), (str, step), (u64, us), (i32, ret)) \
    POINT(migration_step_abandon, "it hangs and is abandoned", (str, id), (str, step), (u64, us)) \
    /* lib/stream/qemu.c */ \
    POINT(savevm_section_start, "a START or FULL section is written", (str, idstr), (u32, section_id)) \
    POINT(savevm_section_end, "the END section begins, with all the rest", (u32, section_id)) \
    /* lib/migration/target.c */ \
    POINT(migration_set_incoming_channel, "the target has its main channel", (flag, one_way)) \
    POINT(qemu_loadvm_state_section_startfull, "a START or FULL section has come", \
        (u32, section_id), (str, idstr), (u32, instance_id), (u32, version_id)) \
    POINT(qemu_loadvm_state_section_partend, "an END section has come", (u32, section_id)) \
    POINT(migration_round_loaded, "target: all of a round is in memory and devices", (u32, round)) \
    /* lib/participant/ram.c */ \
    POINT(migration_bitmap_sync_start, "trackers are asked what was written", (u32, trackers)) \
    POINT(migration_bitmap_sync_end, "they have told", (u64, us)) \
    POINT(ram_state_pending_exact, "what of memory is left after that, and of it by devices alone", \
        (u64, dirty_pages), (u64, device_pages)) \
    POINT(ram_save_complete, "memory that went in the pause", (u64, dirty_pages), (i32, ret)) \
    POINT(migration_dirty_tracking, "who tells what a device writes to memory", \
        (str, device), (str, how)) \
    /* lib/participant/device.c */ \
    POINT(vfio_save_setup, "a device is to give its data", (str, name), (flag, precopy)) \
    POINT(vfio_save_iterate, "it gave data in a round", (str, name), (u64, budget_bytes), (i32, ret)) \
    POINT(vfio_state_pending_exact, "it was asked what it has left", \
        (str, name), (u64, stopcopy_bytes), (u64, precopy_bytes), (u64, initial_bytes)) \
    POINT(vfio_save_complete_precopy, "it gave the rest", (str, name), (i32, ret)) \
    POINT(vfio_save_cleanup, "nothing of it is read any more", (str, name), (flag, moved)) \
    POINT(vfio_load_setup, "a device is to take data", (str, name)) \
    POINT(vfio_load_state, "it has checked what it loaded", (str, name), (flag, config), (i32, ret)) \
    /* lib/device/transition.c */ \
    POINT(vfio_migration_set_state, "a device has a new state", (str, name), (str, state)) \
    POINT(vfio_migration_set_state_refused, "it refused one", \
        (str, name), (str, from), (str, to), (i32, ret)) \
    POINT(vfio_device_reset, "it was reset, and its state is gone", (str, name), (i32, ret)) \
    POINT(vfio_data_start, "its data stream begins, to be read or written", (str, name), (str, state)) \
    /* lib/device/data.c */ \
    POINT(vfio_data_end, "a stream that is read has come to its end", (str, name)) \
    /* lib/device/device.c */ \
    POINT(vfio_device_open, "a device was opened", (str, name), (str, address), (str, backend)) \
    POINT(vfio_device_close, "it was closed", (str, name)) \
    /* lib/device/backend-vfio-user-open.c */ \
    POINT(vfio_user_connect, "a vfio-user server was connected to, and agreed on a version", \
        (str, address)) \
    POINT(vfio_user_disconnect, "its connection was closed", (str, address))
/* clang-format on */

#endif
