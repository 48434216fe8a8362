#!/usr/bin/env python3
"""t_go.py: the Go tool chain and its runtime. SPDX-License-Identifier: Apache-2.0"""

import long

# Goroutines by the thousand, channels, timers, garbage, and loops without a call in them,
# which only the preemption signal (SIGURG) stops.
CHURN = r"""
package main

import (
    "fmt"
    "runtime"
    "sort"
    "sync"
    "sync/atomic"
    "time"
)

type node struct{ l, r *node }

func tree(d int) *node {
    if d == 0 {
        return &node{}
    }
    return &node{tree(d - 1), tree(d - 1)}
}
func (n *node) count() int {
    if n.l == nil {
        return 1
    }
    return 1 + n.l.count() + n.r.count()
}

func main() {
    runtime.GOMAXPROCS(4)
    var wg sync.WaitGroup
    ch := make(chan int, 16)
    for i := 0; i < 2000; i++ {
        wg.Add(1)
        go func(i int) { defer wg.Done(); ch <- i * i }(i)
    }
    go func() { wg.Wait(); close(ch) }()
    sum := 0
    for v := range ch {
        sum += v
    }
    fmt.Println("sum", sum)

    var stop atomic.Bool
    var done sync.WaitGroup
    for i := 0; i < 6; i++ {
        done.Add(1)
        go func() {
            defer done.Done()
            x := uint64(1)
            for j := 0; ; j++ {
                x = x*6364136223846793005 + 1442695040888963407
                if x == 12345 || j&0xfffff == 0 && stop.Load() {
                    return
                }
            }
        }()
    }
    for i := 0; i < 30; i++ {
        runtime.GC()
        time.Sleep(time.Millisecond)
    }
    stop.Store(true)
    done.Wait()
    fmt.Println("preempted")

    out := make([]int, 8)
    for i := range out {
        wg.Add(1)
        go func() { defer wg.Done(); out[i] = tree(10 + i).count() }()
    }
    wg.Wait()
    sort.Ints(out)
    fmt.Println(out)

    func() {
        defer func() { fmt.Println("recovered:", recover()) }()
        var p *node
        fmt.Println(p.l)
    }()
    func() {
        defer func() { fmt.Println("recovered:", recover()) }()
        a, b := 1, 0
        fmt.Println(a / b)
    }()
    m := map[string]int{}
    for i := 0; i < 50000; i++ {
        m[fmt.Sprint(i%1000)] += i
    }
    fmt.Println(len(m), m["77"])
    tick := time.NewTicker(time.Millisecond)
    for i := 0; i < 20; i++ {
        <-tick.C
    }
    fmt.Println("ticked")
}
"""

NET = r"""
package main

import (
    "fmt"
    "io"
    "net"
    "net/http"
    "os"
    "os/exec"
    "os/signal"
    "sync"
    "syscall"
)

func main() {
    l, err := net.Listen("tcp", "127.0.0.1:0")
    if err != nil {
        panic(err)
    }
    go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
        fmt.Fprintf(w, "hello %s", r.URL.Path)
    }))
    var wg sync.WaitGroup
    var mu sync.Mutex
    n := 0
    for i := 0; i < 40; i++ {
        wg.Add(1)
        go func() {
            defer wg.Done()
            r, err := http.Get(fmt.Sprintf("http://%s/%d", l.Addr(), i))
            if err != nil {
                panic(err)
            }
            b, _ := io.ReadAll(r.Body)
            r.Body.Close()
            mu.Lock()
            n += len(b)
            mu.Unlock()
        }()
    }
    wg.Wait()
    fmt.Println("bytes", n)
    c := make(chan os.Signal, 1)
    signal.Notify(c, syscall.SIGUSR1)
    syscall.Kill(os.Getpid(), syscall.SIGUSR1)
    fmt.Println(<-c)
    out, err := exec.Command("/usr/bin/echo", "child").Output()
    fmt.Printf("%q %v\n", out, err)
    err = exec.Command("/usr/bin/false").Run()
    fmt.Println(err)
    var st syscall.Stat_t
    fmt.Println(syscall.Stat("/nowhere", &st))
}
"""
TEST = r"""
package main

import "testing"

func BenchmarkX(b *testing.B) {
    for i := 0; i < b.N; i++ {
    }
}
func TestPlus(t *testing.T) {
    if 1+1 != 2 {
        t.Fatal("no")
    }
}
"""
MOD = "module x\n\ngo 1.24\n"
BUILD = ("export GOCACHE=$PWD/.cache GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local HOME=$PWD; "
         "go build -o x . && ./x; s=$?; chmod -R u+w .cache; rm -rf .cache x go .config; exit $s")


def main():
    long.need_twin()
    long.shell("go env", "go env GOOS GOVERSION CGO_ENABLED; rm -rf .config")
    long.shell("goroutines, preemption, collector", BUILD, files={"x.go": CHURN, "go.mod": MOD})
    long.shell("net/http, signals, children", BUILD, files={"x.go": NET, "go.mod": MOD})
    long.shell("go vet and test", BUILD.replace("go build -o x . && ./x", "go vet . && go test . "
               "| sed 's/[0-9.]*s$//'"),
               files={"x.go": CHURN, "x_test.go": TEST, "go.mod": MOD})
    long.shell("gofmt", "gofmt -d x.go | md5sum", files={"x.go": CHURN})


main()
