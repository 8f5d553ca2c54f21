# groups.R - baskets, clusters, reducts against R: Rscript bench/groups.R DATA
#
# Each task runs here and in build/crm-mine on the same file; seconds are of
# the processor, without reading the file.  arules is not in Debian: where it is
# not installed (install.packages), its column of the baskets stays empty.

data <- commandArgs(TRUE)[1]
mine <- function(...) {
    said <- system2("build/crm-mine", c("evaluate", ...), stdout = TRUE)
    word <- sub(" .*", "", said)
    setNames(sub("^[^ ]* ", "", said), word)
}
number <- function(said, name) as.numeric(said[[name]])
seconds <- function(work) sum(system.time(work)[1:2])
row <- function(...) cat("|", paste(..., sep = " | "), "|\n")

row("task", "result here", "result of R", "s here", "s of R", "ratio")
cat("|---|---|---|---|---|---|\n")

table <- read.csv(file.path(data, "online_retail/rfm.csv"))[, 2:4]
scaled <- log1p(as.matrix(table))
scaled <- sweep(scaled, 2, colMeans(scaled))
scaled <- sweep(scaled, 2, sqrt(colMeans(scaled^2)), "/")
file <- c("--file", file.path(data, "online_retail/rfm.csv"),
          "--id", "CustomerID", "--scale", "log")
for (k in c(3, 4, 5, 8)) {
    set.seed(1)
    t <- seconds(r <- kmeans(scaled, k, nstart = 50, iter.max = 100))
    m <- mine("segments", file, "--k", k)
    row(paste("k-means, 50 starts, k", k), m[["objective"]],
        format(r$tot.withinss, digits = 12), m[["seconds"]],
        format(t, digits = 3), format(number(m, "seconds") / t, digits = 2))
}
if (requireNamespace("e1071", quietly = TRUE)) {
    for (k in c(3, 4, 5)) for (f in c(2, 1.5)) {
        set.seed(1)
        best <- Inf
        t <- seconds(for (i in 1:10) {
            r <- e1071::cmeans(scaled, k, m = f, iter.max = 1000,
                               control = list(reltol = 1e-12))
            best <- min(best, r$withinerror * nrow(scaled))
        })
        m <- mine("segments", file, "--k", k, "--fuzziness", f)
        row(paste0("fuzzy c-means, 10 starts, k ", k, " m ", f),
            m[["objective"]], format(best, digits = 12), m[["seconds"]],
            format(t, digits = 3),
            format(number(m, "seconds") / t, digits = 2))
    }
}

retail <- tempfile()
writeLines(sub(" +$", "", readLines(
    gzfile(file.path(data, "baskets/fimi_retail.dat.gz")))), retail)
lines <- read.csv(gzfile(file.path(data, "online_retail/transactions.csv.gz")),
                  colClasses = "character")[, 1:3]
lines <- lines[!grepl("^[CA]", lines$InvoiceNo) &
               as.numeric(lines$Quantity) > 0 &
               grepl("^[0-9]{5}", lines$StockCode), ]
shop <- tempfile()
writeLines(vapply(split(toupper(lines$StockCode), lines$InvoiceNo),
                  paste, "", collapse = ","), shop)
sets <- list(
    list("Groceries", file.path(data, "baskets/groceries.csv"), ",",
         c(.001, .0003)),
    list("Online Retail", shop, ",", c(.005, .003)),
    list("FIMI retail", retail, " ", c(.001, .0005)))
for (s in sets) for (support in s[[4]]) {
    m <- mine("baskets", "--file", s[[2]], "--support",
              format(support, scientific = FALSE))
    own <- number(m, "itemsets_seconds") + number(m, "rules_seconds")
    theirs <- ""
    t <- NA
    if (requireNamespace("arules", quietly = TRUE)) {
        suppressPackageStartupMessages(library(arules))
        baskets <- read.transactions(s[[2]], sep = s[[3]],
                                     rm.duplicates = TRUE)
        quiet <- list(verbose = FALSE)
        t <- seconds({
            i <- apriori(baskets, list(
                support = support, target = "frequent itemsets"),
                control = quiet)
            r <- apriori(baskets, list(
                support = support, confidence = .5, minlen = 2),
                control = quiet)
        })
        theirs <- paste(length(i), "sets,", length(r), "rules")
    }
    row(paste(s[[1]], support),
        paste(m[["itemsets"]], "sets,", m[["rules"]], "rules"), theirs,
        format(own, digits = 3), format(t, digits = 3),
        format(own / t, digits = 2))
}

m <- mine("rough", "--file", file.path(data, "roughset/mushroom.csv"),
          "--no-header", "--decision", "1")
row("mushroom, all reducts", m[["reducts"]], "", m[["reducts_seconds"]], "", "")
row("mushroom, rules", m[["rules"]], "", m[["rules_seconds"]], "", "")
row("mushroom, genetic, 5,000 evaluations", paste("size", m[["search_size"]]),
    "", m[["search_seconds"]], "", "")
