/*
 * Tocsin: a single-threaded asynchronous executor.  This header brings all the common ones.
 *
 * tocsin/backend.h is for those who write backends; tocsin/linux.h has what only Linux has.
 */
#ifndef TOCSIN_H
#define TOCSIN_H

#include <tocsin/base.h>

#include <tocsin/backend.h>
#include <tocsin/pipe.h>
#include <tocsin/pool.h>
#include <tocsin/process.h>
#include <tocsin/ready.h>
#include <tocsin/socket.h>
#include <tocsin/task.h>
#include <tocsin/timer.h>
#include <tocsin/vpoll.h>
#include <tocsin/wait.h>
#include <tocsin/waker.h>

#endif
