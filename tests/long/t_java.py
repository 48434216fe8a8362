#!/usr/bin/env python3
"""t_java.py: OpenJDK: compiler, threads, JITs, collectors. SPDX-License-Identifier: Apache-2.0"""

import long

SOURCE = r"""
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;

public class T {
    record Point(int x, int y) {}
    sealed interface Shape permits Circle, Square {}
    record Circle(double r) implements Shape {}
    record Square(double a) implements Shape {}
    static double area(Shape s) {
        return switch (s) { case Circle c -> Math.PI * c.r() * c.r(); case Square q -> q.a() * q.a(); };
    }
    static int depth(int n) { return depth(n + 1) + 1; }
    static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

    public static void main(String[] args) throws Exception {
        System.out.println(fib(30));
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> all = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            final int k = i;
            all.add(pool.submit(() -> {
                long s = 0;
                for (int j = 0; j < 300000; j++) s += Integer.toString(j * k).hashCode();
                return s;
            }));
        }
        for (Future<Long> f : all) System.out.print(f.get() + " ");
        System.out.println();
        pool.shutdown();

        AtomicInteger counter = new AtomicInteger();
        Object lock = new Object();
        int[] plain = {0};
        Thread[] ts = new Thread[8];
        for (int i = 0; i < ts.length; i++) {
            ts[i] = new Thread(() -> {
                for (int j = 0; j < 20000; j++) {
                    counter.incrementAndGet();
                    synchronized (lock) { plain[0]++; }
                }
            });
            ts[i].start();
        }
        for (Thread t : ts) t.join();
        System.out.println(counter + " " + plain[0]);

        try (var e = Executors.newVirtualThreadPerTaskExecutor()) {
            var fs = IntStream.range(0, 500).mapToObj(i -> e.submit(() -> { Thread.sleep(5); return i; })).toList();
            int s = 0;
            for (var f : fs) s += f.get();
            System.out.println("virtual " + s);
        }
        System.out.println(IntStream.range(0, 100000).parallel().mapToObj(i -> new Point(i, -i))
            .collect(Collectors.summingInt(Point::x)));
        double total = 0;
        for (int i = 0; i < 100000; i++) total += area(i % 2 == 0 ? new Circle(i) : new Square(i));
        System.out.println(total);
        try { Object o = null; o.hashCode(); } catch (NullPointerException e) { System.out.println("npe"); }
        int nulls = 0;
        for (int i = 0; i < 50000; i++) {
            String s = i % 100 == 0 ? null : "x";
            try { nulls += s.length(); } catch (NullPointerException e) { nulls += 1000; }
        }
        System.out.println(nulls);
        try { System.out.println(1 / (args.length)); } catch (ArithmeticException e) { System.out.println(e.getMessage()); }
        try { depth(0); } catch (StackOverflowError e) { System.out.println("overflow"); }
        List<byte[]> keep = new ArrayList<>();
        for (int i = 0; i < 20000; i++) { keep.add(new byte[10000]); if (keep.size() > 500) keep.subList(0, 250).clear(); }
        System.out.println(keep.size());
        Process p = new ProcessBuilder("/usr/bin/echo", "child").start();
        System.out.print(new String(p.getInputStream().readAllBytes()));
        System.out.println(p.waitFor());
        System.out.println(String.format("%.10f %e %x", Math.sin(1e6), 1.0 / 3, 255));
        var m = new TreeMap<String, Integer>();
        for (String w : "a b c a b a".split(" ")) m.merge(w, 1, Integer::sum);
        System.out.println(m);
        Thread w = new Thread(() -> { try { Thread.sleep(100000); } catch (InterruptedException e) { System.out.println("interrupted"); } });
        w.start(); w.interrupt(); w.join();
    }
}
"""
MODES = ["-Xint", "-XX:TieredStopAtLevel=1", "-XX:-TieredCompilation", "", "-Xcomp -XX:TieredStopAtLevel=1",
         "-XX:+UseSerialGC", "-XX:+UseParallelGC", "-XX:+UseG1GC", "-XX:+UseZGC", "-XX:+UseShenandoahGC",
         "-XX:+SafepointALot -XX:+UnlockDiagnosticVMOptions -XX:GuaranteedSafepointInterval=5"]


def main():
    long.need_twin()
    long.shell("java -version", "$J/java -version 2>&1 | sed 's/ (build.*//'")
    long.shell("javac", "$J/javac -d . T.java && ls", files={"T.java": SOURCE})
    for mode in MODES:
        long.shell(f"a threaded program {mode}",
                   f"$J/javac -d . T.java && $J/java -Xmx256m {mode} -cp . T; s=$?; rm -f *.class; exit $s",
                   files={"T.java": SOURCE})
    long.shell("jshell", "echo 'System.out.println(6*7)' | HOME=$PWD $J/jshell -s - ; rm -rf .java")
    long.shell("jar", "$J/javac -d . T.java && $J/jar cf t.jar *.class && $J/jar tf t.jar | sort; rm -f t.jar *.class",
               files={"T.java": SOURCE})


main()
