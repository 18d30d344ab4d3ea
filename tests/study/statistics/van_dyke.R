# Where the figures of van_dyke.json come from. R 4.2 with the packages MRMCaov 0.3.0 and iMRMC 2.1.2:
#   Rscript van_dyke.R
library(MRMCaov)
library(iMRMC)
options(digits = 12)
data(VanDyke, package = "MRMCaov")

est <- mrmc(empirical_auc(truth, rating), treatment, reader, case, data = VanDyke, cov = DeLong)
s <- summary(est)
print(as.list(s$test_means)); print(as.list(s$test_diffs)); print(est$cov[1:5, 1:5])

truth <- unique(data.frame(readerID = "truth", caseID = paste0("c", VanDyke$case), modalityID = "truth",
                           score = as.numeric(VanDyke$truth)))
read <- data.frame(readerID = as.character(VanDyke$reader), caseID = paste0("c", VanDyke$case),
                   modalityID = paste0("t", VanDyke$treatment), score = VanDyke$rating)
gaps <- seq(1, nrow(read), by = 7)
factors <- function(d) { for (i in 1:3) d[[i]] <- factor(d[[i]]); d }
for (d in list(read, read[-gaps, ])) {
  r <- doIMRMC(factors(rbind(truth, d)))
  print(r$perReader); print(r$Ustat); print(r$varDecomp$BDG$Ustat)
}
call <- read$score >= 3
read$score <- ifelse(VanDyke$truth == 1, call, !call) * 1
for (d in list(read, read[-gaps, ]))
  print(uStat11.jointD(factors(d), c("t1", "t2"), kernelFlag = 1)[c("mean", "var")])
